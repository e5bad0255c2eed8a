"""Mistakes in the two tools, and in definitions and lists."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire, wire_http
from conformance.mutants.wire import LISTS, params_of, results_of
from dynamic_mcp.groups import listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message


@mutant("FRONT-009")
def upstream_tools_leak_into_the_surface() -> None:
    leaked: list[Message] = []

    def remember(result: Message) -> Message:
        leaked.extend(result["tools"] or ())
        return result

    wire.from_stdio_upstreams(results_of("tools/list", remember))
    wire.to_client(results_of("tools/list", lambda result: {**result, "tools": result["tools"] + leaked}))


@mutant("FRONT-009")
def lists_the_groups_in_alphabetical_order() -> None:
    """The reference promises the order of the configuration."""

    def wrong(result: Message) -> Message:
        for tool in result["tools"]:
            tool["inputSchema"]["properties"]["group"]["enum"].sort()
        return {**result}

    wire.to_client(results_of("tools/list", wrong))


@mutant("FRONT-009")
def lists_the_groups_in_random_order() -> None:
    """The order is that of a hash map."""

    def wrong(result: Message) -> Message:
        for tool in result["tools"]:
            random.shuffle(tool["inputSchema"]["properties"]["group"]["enum"])
        return {**result}

    wire.to_client(results_of("tools/list", wrong))


@mutant("FRONT-048")
def writes_definitions_anew_from_three_fields() -> None:
    """dmcp 1.5.0 behaves like this."""
    known = ("name", "description", "inputSchema")

    def wrong(tool: Message) -> Message:
        return {name: tool[name] for name in known if name in tool}

    _change_definitions(wrong)


@mutant("FRONT-010", also={"FRONT-048": "the schema is a part of the definition"})
def drops_the_dialect_of_schemas() -> None:
    """The keyword `$schema` is missing."""

    def wrong(tool: Message) -> Message:
        schema = tool.get("inputSchema")
        if not isinstance(schema, dict):
            return tool
        return {**tool, "inputSchema": {name: value for name, value in schema.items() if name != "$schema"}}

    _change_definitions(wrong)


def _change_definitions(change: Callable[[Message], Message]) -> None:
    def changed(result: Message) -> Message:
        tools = [change(tool) if isinstance(tool, dict) else tool for tool in result["tools"] or ()]
        return {**result, "tools": tools} if tools else result

    wire.from_stdio_upstreams(results_of("tools/list", changed))


@mutant("FRONT-011", also={"FRONT-170": "it takes every cursor for the end"})
def fetches_the_first_page_only() -> None:
    """dmcp 1.5.0 behaves like this."""
    _change_cursors(lambda cursor: None)


@mutant("FRONT-011")
def leaves_out_every_twentieth_tool() -> None:
    def wrong(result: Message) -> Message:
        tools = result["tools"] or ()
        return {**result, "tools": [tool for tool in tools if not str(tool["name"]).endswith(("020", "040"))]}

    wire.from_stdio_upstreams(results_of("tools/list", wrong))


@mutant("FRONT-170", also={"FRONT-011": "one of its cursors is empty"})
def takes_an_empty_cursor_for_the_end() -> None:
    _change_cursors(lambda cursor: cursor or None)


@mutant("FRONT-166")
def follows_a_repeated_cursor_for_ever() -> None:
    # The proxy stops at a cursor that it has seen, so it gets another one for each page.
    pages = count()
    listing.MAX_PAGES = 1 << 30
    _change_cursors(lambda cursor: f"{cursor}#{next(pages)}" if cursor else "")

    def restored(params: Message) -> Message:
        return {**params, "cursor": params["cursor"].partition("#")[0]} if "cursor" in params else params

    wire.to_stdio_upstreams(*(params_of(method, restored) for method in LISTS))


def _change_cursors(change: Callable[[str], str | None]) -> None:
    def changed(result: Message) -> Message:
        cursor = change(result["nextCursor"]) if "nextCursor" in result else None
        others = {name: value for name, value in result.items() if name != "nextCursor"}
        return others if cursor is None else {**others, "nextCursor": cursor}

    wire.from_stdio_upstreams(*(results_of(method, changed) for method in LISTS))


@mutant("FRONT-045")
def ignores_cursors_of_the_client() -> None:
    wire.from_client(*(params_of(method, _without("cursor")) for method in LISTS))


def _without(member: str) -> Callable[[Message], Message]:
    return lambda whole: {name: value for name, value in whole.items() if name != member}


@mutant(
    "FRONT-010",
    also={
        "FRONT-012": "the called tools are not listed",
        "FRONT-048": "the name is a part of the definition",
        "FRONT-104": "the tool that a search finds has another name",
        "FRONT-105": "the tool that a search finds has another name",
    },
)
def lists_tools_in_lower_case() -> None:
    def wrong(tool: Message) -> Message:
        name = tool.get("name")
        return {**tool, "name": name.lower()} if isinstance(name, str) else tool

    _change_definitions(wrong)


@mutant("FRONT-010", also={"FRONT-048": "the schema is a part of the definition"})
def renames_the_parts_of_schemas_over_http() -> None:
    """The keyword `$defs` is lost."""
    wire_http.change_answers("tools/list", lambda body: body.replace(b'"$defs"', b'"x-defs"'))
