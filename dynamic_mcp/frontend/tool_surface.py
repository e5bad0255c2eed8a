"""The answers that depend on the configuration alone: the result of ``initialize``, and the definitions of the two tools.

This module imports only a little of the standard library, so that the early answers need not wait for the rest of the proxy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from dynamic_mcp import __version__

GET = "get_dynamic_tools"
CALL = "call_dynamic_tool"
INFO = {"name": "dynamic-mcp", "title": "Dynamic MCP", "version": __version__}
#: Characters of the names of the groups at the beginning of a description, of which some clients show only 160 characters, and in the
#: instructions.
_MAX_NAMES = 100
_MAX_INSTRUCTED = 1000
#: Characters of a description where descriptions of groups can be shortened. Some clients cut a description after 2,048.
_MAX_DESCRIPTION = 2000
#: A part of a description with fewer characters says nothing.
_MIN_PART = 20

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def capabilities(*, resources: bool, prompts: bool, legacy: bool) -> dict[str, object]:
    """The capabilities of the proxy. ``resources`` and ``prompts`` say whether the configuration allows them for any group."""
    found: dict[str, object] = {"tools": {"listChanged": True}}
    if resources:
        found["resources"] = {"subscribe": True, "listChanged": True}
    if prompts:
        found["prompts"] = {"listChanged": True}
    if resources or prompts:
        found["completions"] = {}
    if legacy:
        found["logging"] = {}
    return found


def introduction(version: str, declared: Mapping[str, object], groups: Iterable[str]) -> bytes:
    """The result of ``initialize``. ``groups`` are the names of all groups."""
    result = {
        "protocolVersion": version,
        "capabilities": declared,
        "serverInfo": INFO,
        "instructions": instructions(groups),
    }
    return _encode(result).encode()


def instructions(groups: Iterable[str]) -> str:
    """How a model uses this server; for its system prompt."""
    if not (names := _begin(groups, _MAX_INSTRUCTED)):
        return "No group of tools is configured."
    return (
        f"Groups of tools behind this server: {names}. "
        f"If a task needs one of them, get its tools with {GET}, then call one with {CALL}."
    )


def tool_list(definitions: bytes) -> bytes:
    """The result of ``tools/list``."""
    return b'{"tools":%b}' % definitions


def tools(described: Mapping[str, str]) -> bytes:
    """The definitions of the two tools, a JSON array. ``described`` maps each group to its description."""
    names = _begin(described, _MAX_NAMES) or "none is configured"
    introduced = _introduce(names)
    listed = "\n".join(_lines(described, _MAX_DESCRIPTION - len(introduced)))
    example = {"group": next(iter(described), "GROUP"), "name": "TOOL", "args": {"ARGUMENT": "value"}}
    # Some APIs refuse a request with an empty enum.
    group = {"type": "string", **({"enum": list(described)} if described else {})}
    definitions = [
        {
            "name": GET,
            "title": "Get the tools of a group",
            "description": introduced + listed,
            "inputSchema": {
                "type": "object",
                "properties": {
                    "group": {**group, "description": "The group whose tools to return"},
                    "name": {
                        "type": "string",
                        "description": "Return only the tool of this name, or several with commas",
                    },
                    "search": {
                        "type": "string",
                        "description": "Return only the tools that match these words, the best match first",
                    },
                },
                "required": ["group"],
            },
            "annotations": {
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": False,
            },
        },
        {
            "name": CALL,
            "title": "Call a tool of a group",
            "description": f"Call one tool of a group: {names}. "
            f"Use {GET} first to learn the group's tools and their input schemas.\n\nExample: {_encode(example)}",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "group": {**group, "description": "The group that has the tool"},
                    "name": {"type": "string", "description": "The name of the tool to call"},
                    "args": {
                        "type": "object",
                        "description": "The arguments for the tool, as its input schema says",
                        # Without ``properties``, some converters of clients drop every argument.
                        # Others take no boolean for a schema.
                        "properties": {},
                        "additionalProperties": {"description": "Any JSON value"},
                    },
                },
                "required": ["group", "name"],
            },
            # The proxy does not know what the tools of the groups do, so these are the defaults of MCP.
            "annotations": {
                "readOnlyHint": False,
                "destructiveHint": True,
                "idempotentHint": False,
                "openWorldHint": True,
            },
        },
    ]
    return _encode(definitions).encode()


def _introduce(names: str) -> str:
    return (
        f"Get the tools of a group: {names}. Each group is an MCP server. "
        "This tool returns the complete definitions, so that only the schemas you need take up context. "
        "Of a large group it returns the names first; then ask for some of them with name or search. "
        f"Call a tool of the group with {CALL}.\n\nAvailable groups:\n"
    )


def shortened(described: Mapping[str, str]) -> int | None:
    """The most characters of a description of a group in the definitions; None if all descriptions are there as a whole."""
    return _share(described, _MAX_DESCRIPTION - len(_introduce(_begin(described, _MAX_NAMES))))


def _lines(described: Mapping[str, str], room: int) -> list[str]:
    """A line for each group. Its name is whole; long descriptions share the room that the names and short ones leave."""
    most = _share(described, room)
    lines = []
    for name, description in described.items():
        if most is None or len(description) <= most:
            lines.append(f"- {name}: {description}")
        else:
            lines.append(f"- {name}: {description[: most - 1].rstrip()}…" if most else f"- {name}")
    return lines


def _share(described: Mapping[str, str], room: int) -> int | None:
    """The most characters of a description; None if all have room, 0 if the parts would say nothing."""
    room -= sum(len(f"- {name}: \n") for name in described)
    lengths = sorted(map(len, described.values()))
    for number, length in enumerate(lengths):
        share = room // (len(lengths) - number)
        if length > share:
            return share if share >= _MIN_PART else 0
        room -= length
    return None


def _begin(groups: Iterable[str], most: int) -> str:
    """The names of the first groups, in about ``most`` characters, and the number of the others."""
    first, *others = [*groups] or [""]
    for number, name in enumerate(others):
        if len(first) + len(name) > most:
            return f"{first} and {len(others) - number} more"
        first += f", {name}"
    return first
