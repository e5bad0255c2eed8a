"""Mistakes in listing, routing and naming the resources and prompts of several upstreams."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    answer,
    errors,
    params_of,
    results_of,
)
from dynamic_mcp.frontend import uritemplate
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.groups.group import Group

RESOURCE_LISTS = ("resources/list", "resources/templates/list")


@mutant("FRONT-017", also={"FRONT-060": "one of its groups refuses to list"})
def an_error_of_one_group_fails_the_list() -> None:
    failed: dict[str | None, Message] = {}

    def remember(message: Message, way: Way) -> Changed:
        if "error" in message and way.method_of(message) in RESOURCE_LISTS:
            failed[way.method_of(message)] = message["error"]
        return message

    def wrong(message: Message, way: Way) -> Changed:
        error = failed.get(way.method_of(message)) if "result" in message else None
        return message if error is None else answer(message, error=error)

    wire.from_stdio_upstreams(remember)
    wire.to_client(wrong)


@mutant(
    "FRONT-018",
    also=dict.fromkeys(
        ("FRONT-071", "FRONT-074", "FRONT-075", "FRONT-076"), "only a template covers its URIs"
    ),
)
def knows_no_templates() -> None:
    """A URI that only a template covers is unknown. dmcp 1.5.0 behaves like this."""
    replace(uritemplate.Matcher.matches, lambda self, template, loosely=False: False)


@mutant("FRONT-018")
def reads_from_all_groups() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == "resources/read":
            for other in wire.to_stdio_upstreams.ways:
                if other is not way:
                    # The proxy drops the answer, because it does not know the id.
                    other.send({**message, "id": "a copy"})
        return message

    wire.to_stdio_upstreams(wrong)


@mutant(
    "FRONT-169",
    also={"FRONT-045": "they have no code", "CFG-015": "the request of an unknown one reaches no server"},
)
def an_unknown_resource_has_empty_contents() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_unknown = message.get("error", {}).get("code") in (INVALID_PARAMS, -32002)
        if not is_unknown or way.method_of(message) != "resources/read":
            return message
        return answer(message, result={"contents": []})

    wire.to_client(wrong)


@mutant("FRONT-019")
def loses_the_arguments_of_prompts() -> None:
    def wrong(params: Message) -> Message:
        return {name: value for name, value in params.items() if name != "arguments"}

    wire.to_stdio_upstreams(params_of("prompts/get", wrong))


@mutant("FRONT-167", also={"FRONT-019": "the descriptions are missing too"})
def lists_prompts_by_their_names_and_arguments() -> None:
    def wrong(result: Message) -> Message:
        kept = ("name", "arguments")
        return {
            **result,
            "prompts": [{name: one[name] for name in kept if name in one} for one in result["prompts"]],
        }

    wire.to_client(results_of("prompts/list", wrong))


@mutant("FRONT-167")
def drops_the_titles_of_prompts() -> None:
    def wrong(result: Message) -> Message:
        prompts = [{name: one[name] for name in one if name != "title"} for one in result["prompts"]]
        return {**result, "prompts": prompts}

    wire.to_client(results_of("prompts/list", wrong))


@mutant("FRONT-045")
def an_unknown_prompt_is_an_empty_one() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_unknown = message.get("error", {}).get("code") == INVALID_PARAMS
        if not is_unknown or way.method_of(message) != "prompts/get":
            return message
        return answer(message, result={"messages": []})

    wire.to_client(wrong)


@mutant("FRONT-045")
def an_unknown_prompt_is_an_internal_error() -> None:
    def wrong(error: Message) -> Message:
        return {**error, "code": INTERNAL_ERROR} if error["code"] == INVALID_PARAMS else error

    wire.to_client(errors(wrong, "prompts/get"))


@mutant("FRONT-020")
def the_order_of_the_groups_is_random() -> None:
    """The order is that of a hash map."""
    _put_the_groups_in_order(lambda group: random.random())


@mutant("FRONT-020")
def the_group_that_starts_fastest_comes_first() -> None:
    ready: list[object] = []
    right = StdioUpstream.open

    async def wrong(self: StdioUpstream, *arguments: Any, **named: Any) -> None:
        await right(self, *arguments, **named)
        ready.append(self)

    replace(right, wrong)
    _put_the_groups_in_order(
        lambda group: ready.index(group.upstream) if group.upstream in ready else len(ready)
    )


def _put_the_groups_in_order(place: Callable[[Group], float]) -> None:
    class Ordered(Mapping[str, "Group"]):
        def __init__(self, groups: Mapping[str, Group]) -> None:
            self.groups = groups

        def __getitem__(self, name: str) -> Group:
            return self.groups[name]

        def __iter__(self) -> Iterator[str]:
            return iter(sorted(self.groups, key=lambda name: place(self.groups[name])))

        def __len__(self) -> int:
            return len(self.groups)

    right = Catalog.__init__
    replace(right, lambda self, groups, *others: right(self, Ordered(groups), *others))


@mutant("FRONT-020")
def the_first_of_equal_names_hides_the_others() -> None:
    def without_group(params: Message) -> Message:
        return {name: value for name, value in params.items() if name != "group"}

    def without_prefixed(result: Message) -> Message:
        names = {prompt["name"] for prompt in result["prompts"]}
        shown = [one for one in result["prompts"] if one["name"].partition("/")[2] not in names]
        return {**result, "prompts": shown}

    wire.from_client(params_of("prompts/get", without_group), params_of("resources/read", without_group))
    wire.to_client(results_of("prompts/list", without_prefixed))
