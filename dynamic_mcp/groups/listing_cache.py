"""The listings of one upstream, until it announces a change, or a caller doubts them (``renewals``).

However many callers need a listing, the upstream gets one request for each page. Each caller gets a listing that began after the last
change before its own request, so no answer is stale. If an upstream does not list again after a change, the last listing stays in use.
The names of the last listing stay, also while the upstream is gone. The cache holds every tool, and shows only those that the
configuration allows.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.groups.listing import CHANGED, TOOLS, Kind, Listing, incomplete, report_cut
from dynamic_mcp.groups.renewals import PATIENCE, Renewals
from dynamic_mcp.groups.tool_filter import ToolFilter
from dynamic_mcp.log import log

#: How often to make a listing that changes meanwhile, because it may change all the time.
_ATTEMPTS = 3


class _Making:
    """A listing that is being made, and the number of its callers. The task returns the number of changes before it too."""

    def __init__(self, task: asyncio.Task[tuple[Listing, int]]) -> None:
        self.task = task
        self.callers = 0


class ListingCache:
    """The listings of the upstream of one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._listings: dict[Kind, Listing] = {}
        #: the last listing of each kind that changed since, while the upstream is connected
        self._outdated: dict[Kind, Listing] = {}
        #: the names in the last listing of each kind that is not cached any more
        self._names: dict[Kind, Collection[str]] = {}
        self._making: dict[Kind, _Making] = {}
        self._changes: Counter[Kind] = Counter()
        self._renewals: defaultdict[Kind, Renewals] = defaultdict(Renewals)
        #: the kinds whose cut listing was reported, and those of which an outdated listing was
        self._reported: set[Kind] = set()
        self._reported_outdated: set[Kind] = set()
        self._tools = ToolFilter(group, ToolRules())

    def set_tools(self, rules: ToolRules) -> None:
        """Show the tools that these rules allow, from now on."""
        self._tools = self._tools.with_rules(rules)
        if (listing := self._listings.get(TOOLS)) is not None:
            self._tools.allowed(listing)

    def switched_off_by(self, tool: str) -> str:
        """The setting that switches a tool off; "" for an allowed tool."""
        return self._tools.switched_off_by(tool)

    def get(self, kind: Kind) -> Listing | None:
        """The cached listing, or None."""
        listing = self._listings.get(kind)
        return None if listing is None else self._shown(kind, listing)

    def last(self, kind: Kind) -> Listing | None:
        """The last listing of the connected upstream, also if it has changed since. None if there was none."""
        listing = self._last(kind)
        return None if listing is None else self._shown(kind, listing)

    def _last(self, kind: Kind) -> Listing | None:
        listing = self._listings.get(kind)
        return self._outdated.get(kind) if listing is None else listing

    def names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing, also while the upstream is gone. None if there was no listing yet."""
        if (listing := self.get(kind)) is not None:
            return listing
        names = self._names.get(kind)
        return self._tools.allowed_names(names) if kind is TOOLS and names is not None else names

    def _shown(self, kind: Kind, listing: Listing) -> Listing:
        return self._tools.allowed(listing) if kind is TOOLS else listing

    def inherit(self, other: ListingCache) -> None:
        """Take over the names of a predecessor, for each kind that has no listing yet."""
        for kind, names in (other._names | other._listings).items():
            self._names.setdefault(kind, frozenset(names))

    async def obtain(
        self,
        kind: Kind,
        make: Callable[[], Awaitable[Listing]],
        seconds: float,
        *,
        anew: bool,
        last_will_do: bool = False,
    ) -> Listing:
        """The listing, made within ``seconds`` if it is not cached. Raises UpstreamError.

        With ``anew`` a cached one is made again, as far as that is allowed. If this fails, the last one is the result. With
        ``last_will_do`` an outdated one is the result after a shorter time too.
        """
        cached, known = self._listings.get(kind), self._last(kind)
        renewals = self._renewals[kind]
        if cached is not None:
            # Another caller's new listing may have begun before the change that this caller looks for.
            if not anew or not renewals.take():
                return self._shown(kind, cached)
            self._changes[kind] += 1
        if cached is not None or (known is not None and last_will_do):
            seconds = min(seconds, PATIENCE)
        try:
            async with asyncio.timeout(seconds):
                return await self.fill(kind, make)
        except TimeoutError:
            failure: UpstreamError = incomplete(kind, seconds)
        except UpstreamError as error:
            failure = error
        if known is None:
            raise failure
        if cached is not None:
            renewals.pause()
        is_new = cached is None and kind not in self._reported_outdated
        if is_new:
            self._reported_outdated.add(kind)
        text = "group %s: the last %s stays in use: %s"
        log.log(logging.WARNING if is_new else logging.DEBUG, text, self._group, kind.method, failure)
        return self._shown(kind, known)

    def tool_called(self) -> None:
        """Note that a call has its result, and may have changed every list."""
        for renewals in self._renewals.values():
            renewals.earn()

    async def fill(self, kind: Kind, make: Callable[[], Awaitable[Listing]]) -> Listing:
        """Make a listing and cache it, together with all other callers. Raises what ``make`` raises.

        It is made again if the upstream announces a change meanwhile. The cancellation of the last caller cancels it.
        """
        wanted = self._changes[kind]
        while True:
            listing, changes = await self._join(kind, make)
            if changes >= wanted:
                return self._shown(kind, listing)

    async def _join(self, kind: Kind, make: Callable[[], Awaitable[Listing]]) -> tuple[Listing, int]:
        making = self._making.get(kind)
        if making is None or making.task.done():
            task = asyncio.get_running_loop().create_task(self._make(kind, make))
            making = self._making[kind] = _Making(task)
        making.callers += 1
        try:
            await asyncio.wait([making.task])
        finally:
            making.callers -= 1
            if not making.callers:
                making.task.cancel()
                if self._making.get(kind) is making:
                    del self._making[kind]
        if (error := making.task.exception()) is not None:
            # Each caller raises its own object, because one object would collect the frames of all tracebacks.
            raise copy.copy(error)
        return making.task.result()

    async def _make(self, kind: Kind, make: Callable[[], Awaitable[Listing]]) -> tuple[Listing, int]:
        for _ in range(_ATTEMPTS):
            changes = self._changes[kind]
            listing = await make()
            if changes == self._changes[kind]:
                self._listings[kind] = listing
                self._names.pop(kind, None)
                self._outdated.pop(kind, None)
                break
        else:
            self._listings.pop(kind, None)
            self._outdate(kind, listing)
        self._report_cut(kind, listing)
        if kind is TOOLS:
            await self._tools.prepare(listing)
        return listing, changes

    def _report_cut(self, kind: Kind, listing: Listing) -> None:
        if listing.cut and kind not in self._reported:
            # Once, because the upstream may announce changes all the time.
            self._reported.add(kind)
            report_cut(self._group, kind, listing)

    def invalidate(self, method: str) -> None:
        """Drop the lists that changed according to this notification."""
        for kind in CHANGED.get(method, ()):
            self._changes[kind] += 1
            if (listing := self._listings.pop(kind, None)) is not None:
                self._outdate(kind, listing)

    def _outdate(self, kind: Kind, listing: Listing) -> None:
        self._names[kind] = frozenset(listing)
        self._outdated[kind] = listing

    def clear(self) -> None:
        """Drop everything but the names, also what is being made, because the connection is gone."""
        for method in CHANGED:
            self.invalidate(method)
        self._outdated.clear()
        self._making.clear()
