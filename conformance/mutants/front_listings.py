"""Mistakes with lists, templates, deadlines and questions of servers that mean harm."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import tools
from dynamic_mcp.frontend.uritemplate import Matcher
from dynamic_mcp.groups import listing
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import RESOURCES, Freshness, Kind, Listing, list_all
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.protocol.pending import QuestionClocks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dynamic_mcp.upstream.base import Upstream

_WITHOUT_END = 1 << 40


@mutant("FRONT-033")
def pages_together_have_no_bound() -> None:
    listing.MAX_BYTES = _WITHOUT_END


@mutant("FRONT-033")
def compares_a_wrong_name_with_every_tool() -> None:
    # Private, because the search is a detail of one error message.
    tools._MAX_COMPARED = _WITHOUT_END


@mutant("FRONT-033")
def keeps_a_million_resources() -> None:
    kept = Kind(RESOURCES.feature, RESOURCES.method, RESOURCES.member, RESOURCES.key, _WITHOUT_END)
    # Private, because tables of other modules have the kind itself as a key.
    right = listing._add_page

    async def wrong(found: Listing, answer: bytes, kind: Kind, upstream: Upstream) -> str | None:
        return await right(found, answer, kept if kind is RESOURCES else kind, upstream)

    replace(right, wrong)
    listing.MAX_BYTES = _WITHOUT_END


@mutant(
    "FRONT-034",
    also=dict.fromkeys(("FRONT-075", "FRONT-076"), "it takes every expression for a plain variable"),
)
def makes_a_regular_expression_of_a_template() -> None:
    """As many libraries for templates do."""

    # Private, because the matcher does not give its URI away.
    def wrong(self: Matcher, template: str, *, loosely: bool = False) -> bool:
        literals = re.split(r"\{[^{}]*\}", template)
        return re.fullmatch("[^/?#]*".join(map(re.escape, literals)), self._uri) is not None

    replace(Matcher.matches, wrong)


@mutant("FRONT-035")
def lists_the_tools_for_each_call() -> None:
    async def wrong(
        self: ListingCache, kind: Kind, make: Callable[[], Awaitable[Listing]], after: int | None = None
    ) -> Listing:
        # Private: only these keep a listing and hold tools back.
        listing, _ = await self._refresh(kind, self._lists[kind], make)
        return self._shown(kind, listing)

    replace(ListingCache.fill, wrong)


@mutant("FRONT-035")
def the_first_cancellation_ends_the_listing_of_all() -> None:
    making: dict[tuple[ListingCache, Kind], asyncio.Future[tuple[Listing, int]]] = {}

    async def wrong(
        self: ListingCache, kind: Kind, make: Callable[[], Awaitable[Listing]], after: int | None = None
    ) -> Listing:
        # Private: only these keep a listing and hold tools back.
        if (self, kind) not in making:
            making[self, kind] = asyncio.ensure_future(self._refresh(kind, self._lists[kind], make))
            making[self, kind].add_done_callback(lambda _: making.pop((self, kind)))
        listing, _ = await making[self, kind]
        return self._shown(kind, listing)

    replace(ListingCache.fill, wrong)


@mutant("FRONT-035", also={"FRONT-022": "the listings after a change are the old ones"})
def keeps_the_old_list_after_a_change() -> None:
    replace(ListingCache.invalidate, lambda self, method: None)


@mutant("OPS-014")
def each_page_has_a_timeout_of_its_own() -> None:
    pages, listing_of = list_all, Group.listing

    async def all_pages(upstream: Upstream, kind: Kind, timeout: float) -> Listing:
        return await pages(upstream, kind, 3600.0)

    async def wrong(
        self: Group, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        return await listing_of(self, kind, 3600.0, freshness)

    replace(list_all, all_pages)
    replace(Group.listing, wrong)


@mutant("STD-025")
def a_question_stops_the_clocks_of_all_calls() -> None:
    # Private, because the clocks are a detail of one connection.
    def wrong(self: QuestionClocks, question: bytes, call: int | None) -> None:
        for pending in self._pending.values():
            pending.deadline += 3600.0

    replace(QuestionClocks.begin, wrong)


@mutant("STD-025")
def a_question_stops_no_clock() -> None:
    replace(QuestionClocks.begin, lambda self, question, call: None)
