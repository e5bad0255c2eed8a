"""Mistakes in listing, routing and naming the resources and prompts of several upstreams."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.frontend import catalog, uritemplate
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, Kind, Listing
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from msgspec import Raw

    from dynamic_mcp.frontend.call import Call
    from dynamic_mcp.upstream.base import Upstream


@mutant("FRONT-017")
def an_error_of_one_group_fails_the_list() -> None:
    async def wrong(group: Group, kind: Kind) -> Listing:
        return await group.listing(kind)

    replace(catalog._listing, wrong)


@mutant("FRONT-018")
def knows_no_templates() -> None:
    replace(uritemplate.matches, lambda template, uri: False)


@mutant("FRONT-018")
def reads_from_all_groups() -> None:
    async def wrong(self: Catalog, call: Call) -> bytes:
        results: list[bytes] = []
        refusal: Exception | None = None
        for group in self._groups.values():
            try:
                results.append(await self._forward(call, group, RESOURCES, call.members))
            except UpstreamError as error:
                refusal = error
        if refusal is not None and not results:
            raise refusal
        return results[0]

    replace(Catalog.read, wrong)


@mutant("FRONT-018")
def an_unknown_resource_has_empty_contents() -> None:
    right = Catalog.read

    async def wrong(self: Catalog, call: Call) -> bytes:
        try:
            return await right(self, call)
        except Refusal:
            return b'{"contents":[]}'

    replace(right, wrong)


@mutant("FRONT-019")
def loses_the_arguments_of_prompts() -> None:
    right = Catalog._forward

    async def wrong(self: Catalog, call: Call, group: Group, kind: Kind, members: dict[str, Raw]) -> bytes:
        if kind is PROMPTS:
            members = {name: raw for name, raw in members.items() if name != "arguments"}
        return await right(self, call, group, kind, members)

    replace(right, wrong)


@mutant("FRONT-019")
def an_unknown_prompt_is_an_internal_error() -> None:
    right = Catalog._prompt

    async def wrong(self: Catalog, name: str, group: str | None) -> tuple[Group, str]:
        try:
            return await right(self, name, group)
        except Refusal as refusal:
            raise Refusal(INTERNAL_ERROR, str(refusal)) from refusal

    replace(right, wrong)


@mutant("FRONT-020")
def the_order_of_the_groups_is_random() -> None:
    _put_the_groups_in_order(lambda group: random.random())


@mutant("FRONT-020")
def the_group_that_starts_fastest_comes_first() -> None:
    ready: list[Group] = []
    right = Group._set_ready

    def wrong(self: Group, upstream: Upstream) -> None:
        ready.append(self)
        right(self, upstream)

    replace(right, wrong)
    _put_the_groups_in_order(lambda group: ready.index(group) if group in ready else len(ready))


def _put_the_groups_in_order(place: Callable[[Group], float]) -> None:
    def ordered(self: Catalog) -> Catalog:
        return Catalog({group.name: group for group in sorted(self._groups.values(), key=place)})

    all_at_once, one_by_one = Catalog._listings, Catalog._one_by_one
    replace(all_at_once, lambda self, kind, group=None: all_at_once(ordered(self), kind, group))
    replace(one_by_one, lambda self, kind: one_by_one(ordered(self), kind))


@mutant("FRONT-020")
def the_last_of_equal_names_hides_the_others() -> None:
    right = catalog._unambiguous

    def wrong(
        kind: Kind, listings: Iterable[tuple[Group, Listing]], seen: set[str]
    ) -> Iterable[tuple[Group, str, bytes]]:
        return {name: (group, name, raw) for group, name, raw in right(kind, listings, seen)}.values()

    replace(right, wrong)
    replace(Catalog._group, lambda self, kind, name: list(self._groups.values())[-1])
