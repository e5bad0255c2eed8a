"""Mistakes in the answer of `get_dynamic_tools`: its form, the instructions, large groups, and the search."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import results_of
from dynamic_mcp.frontend import definitions, ranking, tool_surface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import Raw

    from conformance.mutants.wire import Message
    from dynamic_mcp.groups.group import Group

_WITHOUT_END = 1 << 40


def _change_listings(change: Callable[[Message, Message], Any]) -> None:
    """Replace the JSON value in each answer by what `change` makes of it and of the arguments."""

    def changed(message: Message, way: wire.Way) -> wire.Changed:
        params = way.request_of(message).get("params") or {}
        result = message.get("result")
        if params.get("name") != tool_surface.GET or not isinstance(result, dict) or result.get("isError"):
            return message
        value = change(json.loads(result["content"][0]["text"]), params["arguments"])
        return {**message, "result": {**result, "content": [{"type": "text", "text": json.dumps(value)}]}}

    wire.to_client(changed)


@mutant(
    "FRONT-100",
    also=dict.fromkeys(
        ("FRONT-101", "FRONT-102", "FRONT-105"), "an array has no room for what stands beside the tools"
    ),
)
def lists_the_tools_as_an_array() -> None:
    _change_listings(lambda listed, arguments: listed["tools"])


@mutant("FRONT-101", also={"FRONT-102": "there are no instructions to bound"})
def drops_the_instructions_of_servers() -> None:
    # Private: the instructions have no other way to the client.
    replace(definitions._instructions, lambda group, raw: b"")


@mutant("FRONT-101")
def reads_the_instructions_of_the_legacy_era_only() -> None:
    def wrong(result: Message) -> Message:
        return {name: value for name, value in result.items() if name != "instructions"}

    wire.from_stdio_upstreams(results_of("server/discover", wrong))


@mutant("FRONT-101")
def shows_the_instructions_of_another_server() -> None:
    """Those of the server that was asked before."""
    # Private: the instructions have no other way to the client.
    right = definitions._instructions
    earlier: list[bytes] = []

    def wrong(group: Group, raw: Raw) -> bytes:
        earlier.append(right(group, raw) or (earlier[-1] if earlier else b""))
        return earlier[-1]

    replace(right, wrong)


@mutant("FRONT-102")
def shows_instructions_of_any_length() -> None:
    definitions.MAX_INSTRUCTIONS = _WITHOUT_END


@mutant("FRONT-102")
def the_instructions_take_the_room_of_the_definitions() -> None:
    """Nothing else is in an answer with long instructions."""

    def wrong(listed: Message, arguments: Message) -> Message:
        is_long = len(listed.get("instructions", "")) > 1_000
        return {**listed, "tools": []} if is_long else listed

    _change_listings(wrong)


@mutant("FRONT-103", also={"FRONT-105": "a thousand tools are a large group"})
def answers_with_all_definitions_of_any_group() -> None:
    # Private: only this function compares with the bound.
    replace(definitions._fits, lambda tools, size: True)


@mutant("FRONT-103", also={"FRONT-105": "a thousand tools are a large group"})
def cuts_a_long_answer_at_its_end() -> None:
    """As a client would do it, so the last tools are missing."""
    # Private: only this function compares with the bound.
    replace(definitions._fits, lambda tools, size: True)

    def wrong(listed: Message, arguments: Message) -> Message:
        most = (
            max(8_000 // max(len(json.dumps(tool)) for tool in listed["tools"]), 1) if listed["tools"] else 0
        )
        return {**listed, "tools": listed["tools"][:most]}

    _change_listings(wrong)


@mutant("FRONT-103")
def shortens_a_definition_that_was_asked_for_by_name() -> None:
    def wrong(listed: Message, arguments: Message) -> Message:
        is_long = "name" in arguments and len(json.dumps(listed)) > 500
        tools = [{**tool, "inputSchema": {"type": "object"}} for tool in listed["tools"]]
        return {**listed, "tools": tools} if is_long else listed

    _change_listings(wrong)


@mutant("FRONT-104")
def keeps_the_order_of_the_server_in_a_search() -> None:
    right = ranking.rank

    async def wrong(tools: Mapping[str, Raw], search: str) -> list[str]:
        found = set(await right(tools, search))
        return [name for name in tools if name in found]

    replace(right, wrong)


@mutant("FRONT-104")
def finds_words_inside_of_words() -> None:
    """As a search for each word by itself in the text does."""

    async def wrong(tools: Mapping[str, Raw], search: str) -> list[str]:
        words = search.casefold().split()
        texts = {name: f"{name} {bytes(raw).decode()}".casefold() for name, raw in tools.items()}
        found = {name: sum(word in text for word in words) for name, text in texts.items()}
        return sorted((name for name in tools if found[name]), key=lambda name: -found[name])

    replace(ranking.rank, wrong)


@mutant("FRONT-104")
def knows_one_form_of_each_word() -> None:
    # Private: only here does a word lose its ending.
    replace(ranking._stem, lambda word: word)
    ranking._MIN_BEGINNING = _WITHOUT_END


@mutant("FRONT-105")
def leaves_names_out_without_a_word() -> None:
    _change_listings(
        lambda listed, arguments: {name: value for name, value in listed.items() if name != "note"}
    )


@mutant("FRONT-105")
def a_search_has_no_bound() -> None:
    right = ranking.rank

    async def wrong(tools: Mapping[str, Raw], search: str) -> list[str]:
        found = await right(tools, search)
        # Private: only this function compares with the bound.
        definitions._fits = lambda chosen, size: len(found) > 100  # type: ignore[assignment]
        return found

    replace(right, wrong)


@mutant("FRONT-105")
def a_search_knows_the_shown_names_only() -> None:
    right = ranking.rank

    async def wrong(tools: Mapping[str, Raw], search: str) -> list[str]:
        return await right(dict([*tools.items()][:100]), search)

    replace(right, wrong)
