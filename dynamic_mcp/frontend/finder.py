"""Finds the group of a name, for one call.

A group that lists slowly does not delay a call to another one: the search waits for it as long as a list does (``patience``). If no
other group has the name, the call waits for the slow groups, as long as its timeout allows. Only then a loose match counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing

from dynamic_mcp.frontend.call import CallClock
from dynamic_mcp.frontend.owners import NameOwners
from dynamic_mcp.frontend.patience import Patience, listing_within
from dynamic_mcp.frontend.searches import Search
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import Freshness, Kind


class Finder:
    """The searches of one call among the groups, which share the timeout of the call."""

    def __init__(
        self, groups: Mapping[str, Group], owners: NameOwners, patience: Patience, clock: CallClock
    ) -> None:
        self._groups = groups
        self._owners = owners
        self._patience = patience
        self._clock = clock
        #: the listings that did not come in time for a search
        self._late: set[tuple[Group, Kind]] = set()
        #: the groups without a list for the last search, if it found no group
        self.not_searched: set[str] = set()

    async def find(
        self, name: str, searches: Sequence[Search], kinds: Collection[Kind], *, then: Sequence[Search] = ()
    ) -> Group | None:
        """The first group that a search finds, by what the groups listed, then by new lists of these kinds. None without one.

        ``then`` replaces the searches once every new list has come, or came too late.
        """
        if (owner := await self._search(name, searches)) is not None:
            return owner
        await self._renew(kinds)
        if self._late:
            if (owner := await self._search(name, searches)) is not None:
                return owner
            seconds = max(self._seconds_left(group, kind) for group, kind in self._late)
            async with aclosing(self._patience.arrivals(set(self._late), seconds)) as arrivals:
                async for _ in arrivals:
                    if (owner := await self._search(name, searches)) is not None:
                        return owner
        return await self._search(name, then or searches)

    async def names(self, group: Group, kind: Kind, freshness: Freshness) -> Collection[str] | None:
        """The names that the only possible group lists, or listed last if it is down now. None if that is unknown."""
        listing = await listing_within(group, kind, self._seconds_left(group, kind), freshness)
        return group.last_names(kind) if listing is None else listing

    async def _search(self, name: str, searches: Sequence[Search]) -> Group | None:
        """The owner of a name: the first group that a search finds, or that owned the name before and still can."""
        kind = searches[0][0]
        groups = [group for group in self._groups.values() if group.has(kind)]
        order = [group.name for group in groups]
        before = self._owners.of(kind, name)
        is_owned = before in order
        claimants = self._owners.claimants(kind, name, order)
        unknown: set[str] = set()
        for searched, has in searches:
            candidates = [group for group in groups if group.name in claimants]
            async with aclosing(self._in_order(candidates, searched)) as found:
                async for group, names in found:
                    if names is None:
                        unknown.add(group.name)
                    if await has(group, names) if names is not None else group.name == before:
                        self._owners.remember(kind, name, group.name, order, unknown)
                        return group
        self._owners.forget(kind, name)
        self.not_searched = unknown
        # The owner does not have the name any more, so that any group can be the next one.
        return await self._search(name, searches) if is_owned else None

    async def _in_order(
        self, groups: Sequence[Group], kind: Kind
    ) -> AsyncGenerator[tuple[Group, Collection[str] | None], None]:
        """The names of each group. They are requested at once, so that a slow group does not delay those before it."""
        tasks = [asyncio.ensure_future(self._names_soon(group, kind)) for group in groups]
        try:
            for group, task in zip(groups, tasks, strict=True):
                yield group, await task
        finally:
            for task in tasks:
                task.cancel()

    async def _names_soon(
        self, group: Group, kind: Kind, freshness: Freshness = Freshness.KNOWN
    ) -> Collection[str] | None:
        """As ``names``, without a listing that comes too late for a search."""
        listing = await self._patience.listing(group, kind, freshness, self._seconds_left(group, kind))
        if self._patience.waits_for(group, kind):
            self._late.add((group, kind))
        return group.last_names(kind) if listing is None else listing

    async def _renew(self, kinds: Collection[Kind]) -> None:
        """Let the groups list again, because no listing has the name of this call."""
        groups = self._groups.values()
        pairs = [(group, kind) for group in groups for kind in kinds if group.has(kind)]
        await asyncio.gather(*(self._names_soon(group, kind, Freshness.RENEWED) for group, kind in pairs))

    def _seconds_left(self, group: Group, kind: Kind) -> float:
        return self._clock.left(group.timeout(kind))
