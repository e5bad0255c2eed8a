"""Legitimate designs: the form of the answer of `get_dynamic_tools`, and of the JSON that the proxy writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from conformance.mutants import legitimate, replace, wire
from dynamic_mcp.frontend import tool_surface

#: the checks that read a listing, or wait for one
_READERS = (
    "FRONT-009",
    "FRONT-010",
    "FRONT-011",
    "FRONT-026",
    "FRONT-022",
    "FRONT-035",
    "FRONT-111",
    "HTTP-017",
    "RLD-002",
    "CFG-041",
    "FRONT-066",
)


def change_answers(change: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]) -> None:
    """Let a change make the result of each listing from the arguments and the answer; None leaves it."""

    def changed(message: wire.Message, way: wire.Way) -> wire.Changed:
        params = way.request_of(message).get("params")
        result = message.get("result")
        if (
            not isinstance(params, dict)
            or params.get("name") != tool_surface.GET
            or not isinstance(result, dict)
            or result.get("isError")
        ):
            return message
        listed = wire.decoded(result["content"][0]["text"].encode())
        assert listed is not None
        changed_result = change(params["arguments"], listed)
        return message if changed_result is None else {**message, "result": changed_result}

    wire.to_client(changed)


def change_listings(change: Callable[[list[Any]], dict[str, Any]]) -> None:
    """Let a change make the result of each listing from the definitions in it."""
    change_answers(lambda arguments, listed: change(listed["tools"]))


def _text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": msgspec.json.encode(value).decode()}


@legitimate(*_READERS)
def lists_one_block_for_each_tool() -> None:
    change_listings(lambda tools: {"content": [_text(tool) for tool in tools]})


@legitimate(*_READERS)
def lists_tools_in_a_fenced_block() -> None:
    def fenced(tools: list[Any]) -> dict[str, Any]:
        block = msgspec.json.format(msgspec.json.encode(tools), indent=2).decode()
        text = (
            f"The group has {len(tools)} tools:\n\n```json\n{block}\n```\n\nCall one with call_dynamic_tool."
        )
        return {"content": [{"type": "text", "text": text}]}

    change_listings(fenced)


@legitimate(*_READERS)
def lists_tools_as_structured_content() -> None:
    """The text only counts them."""

    def structured(tools: list[Any]) -> dict[str, Any]:
        text = {"type": "text", "text": f"{len(tools)} tools"}
        return {"content": [text], "structuredContent": {"tools": tools}}

    change_listings(structured)


@legitimate(*_READERS)
def lists_an_object_with_the_tools() -> None:
    change_listings(
        lambda tools: {"content": [_text({"group": "the group", "count": len(tools), "tools": tools})]}
    )


@legitimate(*_READERS, "FRONT-100", "FRONT-101", "FRONT-102", "FRONT-103")
def lists_names_first() -> None:
    """The answer for a group never has definitions; the answer for a name has one."""

    def shortened(arguments: dict[str, Any], listed: dict[str, Any]) -> dict[str, Any] | None:
        if "name" in arguments:
            return None
        names = [{"name": tool["name"]} for tool in listed["tools"]]
        return {"content": [_text({**listed, "tools": names})]}

    change_answers(shortened)


@legitimate(*_READERS, "CFG-002", "RLD-003", "RLD-006")
def names_groups_in_the_description_only() -> None:
    """The argument `group` is any string."""
    right = tool_surface.tools

    def without_enum(described: Any) -> bytes:
        tools = json.loads(right(described))
        for tool in tools:
            tool["inputSchema"]["properties"]["group"].pop("enum", None)
        return json.dumps(tools, ensure_ascii=False).encode()

    replace(right, without_enum)


@legitimate("FRONT-009", "FRONT-026", "CFG-002", "RLD-003", "RLD-006")
def sorts_the_groups_by_name() -> None:
    right = tool_surface.tools
    replace(right, lambda described: right(dict(sorted(described.items()))))


@legitimate(
    *_READERS,
    "FRONT-016",
    "CFG-002",
    "OPS-007",
    "RLD-001",
    "RLD-003",
    "RLD-006",
    profile='absent = { FRONT-009 = "an answer of get_dynamic_tools names the groups, and its definition does not" }',
)
def names_groups_only_when_asked() -> None:
    """The definitions of the tools name no group; the error of `get_dynamic_tools` without a group, or with an unknown one, does."""
    right = tool_surface.tools
    last: list[Any] = []

    def without_names(described: Any) -> bytes:
        last[:] = [dict(described)]
        tools = json.loads(right({}))
        for tool in tools:
            tool["inputSchema"]["properties"]["group"].pop("enum", None)
        return json.dumps(tools).encode()

    def listing(message: wire.Message, way: wire.Way) -> wire.Changed:
        params = way.request_of(message).get("params")
        if not isinstance(params, dict) or params.get("name") != tool_surface.GET or not last:
            return message
        if (params.get("arguments") or {}).get("group") in last[0]:
            return message
        text = "\n".join(f"{name}: {description}" for name, description in last[0].items())
        return wire.answer(message, result={"content": [{"type": "text", "text": text}], "isError": True})

    replace(right, without_names)
    wire.to_client(listing)


@legitimate("CFG-015", "FRONT-017", "FRONT-019", "FRONT-020", "FRONT-071", passes=("FRONT-060",))
def lists_the_resources_and_prompts_of_all_groups_together() -> None:
    """MCP has no parameter `group`. A list ignores it."""

    def without_group(message: wire.Message, way: wire.Way) -> wire.Changed:
        params = message.get("params")
        if message.get("method") not in wire.LISTS or not isinstance(params, dict):
            return message
        return {**message, "params": {name: value for name, value in params.items() if name != "group"}}

    wire.from_client(without_group)


@legitimate(
    *_READERS,
    *("CFG-002", "FRONT-001", "FRONT-003", "FRONT-030", "FRONT-140", "OPS-004", "RLD-003", "RLD-006"),
    passes=("FRONT-060", "FRONT-112", "FRONT-113"),
)
def has_each_of_its_two_tools_on_a_page_of_its_own() -> None:
    #: by the id of a request: the page that it asks for
    pages: dict[Any, int] = {}

    def first_page(message: wire.Message, way: wire.Way) -> wire.Changed:
        params = message.get("params")
        if message.get("method") != "tools/list" or not isinstance(params, dict):
            return message
        found = re.fullmatch("page-([1-9])", str(params.get("cursor")))
        if found is None:
            return message
        pages[message["id"]] = int(found[1])
        return {**message, "params": {name: value for name, value in params.items() if name != "cursor"}}

    def one_page(message: wire.Message, way: wire.Way) -> wire.Changed:
        result = message.get("result")
        if way.method_of(message) != "tools/list" or not isinstance(result, dict):
            return message
        page, tools = pages.pop(message["id"], 0), result["tools"]
        more = {"nextCursor": f"page-{page + 1}"} if page + 1 < len(tools) else {}
        return {**message, "result": {**result, "tools": tools[page : page + 1], **more}}

    wire.from_client(first_page)
    wire.to_client(one_page)


@legitimate("FRONT", "STD-014")
def escapes_what_is_not_ascii() -> None:
    """Every message to the client is pretty in the way of another JSON library: spaces, escapes, sorted keys."""

    def escaped(line: bytes, way: wire.Way) -> bytes:
        message = wire.decoded(line)
        if message is None or b"\\ud" in line.lower():
            return line
        try:
            return json.dumps(message, sort_keys=True).encode() + b"\n"
        except TypeError:  # a number that Python would round
            return line

    wire.to_client.lines(escaped)
