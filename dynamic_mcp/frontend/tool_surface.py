"""The answers that depend on the configuration alone: the result of ``initialize``, and the definitions of the two tools.

This module imports only a little of the standard library, so that the early answers need not wait for the rest of the proxy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dynamic_mcp import __version__

GET = "get_dynamic_tools"
CALL = "call_dynamic_tool"
INFO = {"name": "dynamic-mcp", "version": __version__}

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


def introduction(version: str, declared: Mapping[str, object]) -> bytes:
    """The result of ``initialize``."""
    result = {"protocolVersion": version, "capabilities": declared, "serverInfo": INFO}
    return _encode(result).encode()


def tool_list(definitions: bytes) -> bytes:
    """The result of ``tools/list``."""
    return b'{"tools":%b}' % definitions


def tools(described: Mapping[str, str]) -> bytes:
    """The definitions of the two tools, a JSON array. ``described`` maps each group to its description."""
    listed = "\n".join(f"- {name}: {description}" for name, description in described.items())
    group = {"type": "string", "enum": list(described)}
    definitions = [
        {
            "name": GET,
            "description": "Many MCP servers stand behind this one, each as a group of tools. This tool returns the complete "
            "tool definitions of one group, so that only the schemas you need take up context. "
            "Of a large group it returns the names first; then ask for some of them with name or search. "
            f"Call a tool of the group with {CALL}.\n\nAvailable groups:\n{listed}",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "group": {**group, "description": "The group whose tools to return"},
                    "name": {
                        "type": "string",
                        "description": "Return only the tool of this name, or of several names with commas",
                    },
                    "search": {
                        "type": "string",
                        "description": "Return only the tools that match these words, the best match first",
                    },
                },
                "required": ["group"],
            },
        },
        {
            "name": CALL,
            "description": f"Call one tool of a group. Use {GET} first to learn the group's tools and their input schemas."
            f'\n\nExample: {CALL}(group="playwright", name="browser_navigate", '
            'args={"url": "https://example.com"})',
            "inputSchema": {
                "type": "object",
                "properties": {
                    "group": {**group, "description": "The group that has the tool"},
                    "name": {"type": "string", "description": "The name of the tool to call"},
                    "args": {
                        "type": "object",
                        "description": "The arguments for the tool, as its input schema says",
                        "additionalProperties": True,
                    },
                },
                "required": ["group", "name"],
            },
        },
    ]
    return _encode(definitions).encode()
