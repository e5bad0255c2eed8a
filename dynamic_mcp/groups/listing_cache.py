"""The cached listings of one upstream, and the task that lists again when one of them is not fresh enough for a caller.

A listing is *outdated* if the upstream has announced a change since the listing began. It is *in doubt* if the proxy may have missed such
an announcement, and *certain* if it is neither. ``Freshness`` says which listings a caller accepts.

A *refresh* is one task that makes a new listing for all callers, so the upstream gets one request for each page. If a change comes
meanwhile, the task lists again. It goes on without its callers until the connection ends, so a slow list delays few calls of a known name.
If it fails, the last listing stays in use.

The listings of a connection have numbers, in the order in which they begin. At a change, the cache notes the number of the listing that
began last. Only a listing with a higher number shows the change.

The names of the last listing stay while the upstream is gone. The cache holds every tool, and shows only those that the configuration
allows.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.groups.listing import CHANGED, TOOLS, Freshness, Kind, Listing, incomplete, report_cut
from dynamic_mcp.groups.renewals import LISTING_WAIT, PAUSE, Renewals
from dynamic_mcp.groups.tool_filter import ToolFilter
from dynamic_mcp.log import log, report_bug

#: The most listings of one refresh, because the list may change all the time.
_ATTEMPTS = 3


class _Refresh:
    """A task that makes a new listing, and the number of its callers. The task returns the number of the listing too."""

    def __init__(self, task: asyncio.Task[tuple[Listing, int]]) -> None:
        self.task = task
        self.callers = 0
        #: when it began, by the clock of the loop
        self.began = task.get_loop().time()


class _CachedList:
    """The last listing of one kind on one connection, and what came after it."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.listing: Listing | None = None
        #: the names in the last listing of the connections before
        self.names_before = names
        #: the numbers, from 1 on, of ``listing`` and of the listing that began last
        self.number = self.last_begun = 0
        #: the number of the listing that had begun last at the last change, and at the last doubt
        self.changed_after = self.doubted_after = 0
        self.refresh: _Refresh | None = None
        #: when the last refresh ended, by the clock of the loop, and whether it brought no listing without a change meanwhile
        self.ended = float("-inf")
        self.was_in_vain = False

    @property
    def names(self) -> Collection[str] | None:
        return self.names_before if self.listing is None else self.listing

    @property
    def uncertain_until(self) -> int:
        """The number of the last listing that is outdated or in doubt."""
        return max(self.changed_after, self.doubted_after)

    @property
    def is_outdated(self) -> bool:
        return self.number <= self.changed_after

    @property
    def is_certain(self) -> bool:
        return self.number > self.uncertain_until

    def is_paused(self) -> bool:
        """Whether a call of a known name begins no refresh, because the last one has just ended. A new one may be in vain too."""
        if self.refresh is not None and not self.refresh.task.done():
            return False
        is_soon = asyncio.get_running_loop().time() < self.ended + PAUSE
        return is_soon and (self.was_in_vain or not self.is_outdated)


class ListingCache:
    """The cached listings of the upstream of one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._lists: defaultdict[Kind, _CachedList] = defaultdict(_CachedList)
        self._renewals: defaultdict[Kind, Renewals] = defaultdict(Renewals)
        #: the kinds whose cut listing was reported, and those of which an outdated listing was
        self._reported: set[Kind] = set()
        self._reported_outdated: set[Kind] = set()
        #: the tools that the configuration allows
        self.tools = ToolFilter(group, ToolRules())

    def set_tools(self, rules: ToolRules) -> None:
        """Show the tools that these rules allow, from now on."""
        self.tools = self.tools.with_rules(rules)
        self.last(TOOLS)

    def get(self, kind: Kind) -> Listing | None:
        """The cached listing if it is certain, or None."""
        return self.last(kind) if self._lists[kind].is_certain else None

    def last(self, kind: Kind) -> Listing | None:
        """The last listing of the connected upstream, also if it has changed since. None if there was none."""
        listing = self._lists[kind].listing
        return None if listing is None else self._shown(kind, listing)

    def names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing, also while the upstream is gone. None if there was no listing yet."""
        if (listing := self.last(kind)) is not None:
            return listing
        names = self._lists[kind].names
        return self.tools.allowed_names(names) if kind is TOOLS and names is not None else names

    def _shown(self, kind: Kind, listing: Listing) -> Listing:
        return self.tools.allowed(listing) if kind is TOOLS else listing

    def inherit(self, other: ListingCache) -> None:
        """Take over the names of a predecessor, for each kind that has no listing yet."""
        for kind, cached in other._lists.items():
            own = self._lists[kind]
            if own.names_before is None and cached.names is not None:
                own.names_before = frozenset(cached.names)

    async def obtain(
        self, kind: Kind, make: Callable[[], Awaitable[Listing]], seconds: float, freshness: Freshness
    ) -> Listing:
        """The listing, made within ``seconds`` if it is not cached. If this fails, the last one is the result. Raises UpstreamError.

        The last one is also the result in these cases, by ``freshness``:

        - ``KNOWN``: if it is not outdated; and if it is, once the new one takes too long, or soon after one that failed.
        - ``RENEWED``: if it is not outdated, and ``renewals`` allows no new one now.
        - ``REQUESTED`` and ``COMPARED``: if it is certain.
        """
        cached = self._lists[kind]
        known, after = cached.listing, cached.uncertain_until
        if known is None:
            return await self._fill_within(seconds, kind, make, after)
        is_renewal = freshness is Freshness.RENEWED and not cached.is_outdated
        if is_renewal:
            if not self._renewals[kind].take():
                return self._shown(kind, known)
            # Another caller's new listing may have begun before the change that this caller looks for.
            after, seconds = cached.last_begun, min(seconds, LISTING_WAIT)
        elif cached.is_certain or (freshness is Freshness.KNOWN and cached.is_paused()):
            return self._shown(kind, known)
        elif freshness is Freshness.KNOWN:
            seconds = self._seconds_for_refresh(kind, cached, make, seconds)
        if seconds <= 0.0:
            return self._shown(kind, known)
        try:
            return await self._fill_within(seconds, kind, make, after)
        except UpstreamError as failure:
            if is_renewal:
                self._renewals[kind].pause()
            self._report_outdated(kind, cached, failure)
            return self._shown(kind, known)

    async def _fill_within(
        self, seconds: float, kind: Kind, make: Callable[[], Awaitable[Listing]], after: int
    ) -> Listing:
        """``fill``, which may take so many seconds. Raises UpstreamError."""
        try:
            async with asyncio.timeout(seconds):
                return await self.fill(kind, make, after)
        except TimeoutError:
            raise incomplete(kind, round(seconds, 1)) from None

    def _seconds_for_refresh(
        self, kind: Kind, cached: _CachedList, make: Callable[[], Awaitable[Listing]], seconds: float
    ) -> float:
        """The seconds that a call of a known name waits for a refresh, which it begins if necessary.

        All calls together wait once. Half of the time of a call stays for the call itself.
        """
        refresh = self._begin(kind, cached, make)
        waited = asyncio.get_running_loop().time() - refresh.began
        return min(seconds / 2, LISTING_WAIT - waited) if cached.is_outdated else 0.0

    def _report_outdated(self, kind: Kind, cached: _CachedList, failure: UpstreamError) -> None:
        is_new = cached.is_outdated and kind not in self._reported_outdated
        if is_new:
            self._reported_outdated.add(kind)
        text = "group %s: the last %s stays in use: %s"
        log.log(logging.WARNING if is_new else logging.DEBUG, text, self._group, kind.method, failure)

    def tool_called(self) -> None:
        """Note that a call has its result, and may have changed every list."""
        for renewals in self._renewals.values():
            renewals.earn()

    async def fill(
        self, kind: Kind, make: Callable[[], Awaitable[Listing]], after: int | None = None
    ) -> Listing:
        """The listing of a refresh, together with all other callers. Raises what ``make`` raises.

        Its number is above ``after``: by default, it began after the last change and the last doubt.
        """
        cached = self._lists[kind]
        after = cached.uncertain_until if after is None else after
        while True:
            listing, number = await self._join(kind, cached, make)
            if number > after:
                return self._shown(kind, listing)

    async def _join(
        self, kind: Kind, cached: _CachedList, make: Callable[[], Awaitable[Listing]]
    ) -> tuple[Listing, int]:
        refresh = self._begin(kind, cached, make)
        refresh.callers += 1
        try:
            await asyncio.wait([refresh.task])
        finally:
            refresh.callers -= 1
            if not refresh.callers and self._lists[kind] is not cached:
                refresh.task.cancel()
        if refresh.task.cancelled():
            raise UpstreamFailed(f"the proxy closed the connection while it waited for {kind.method}")
        if (error := refresh.task.exception()) is not None:
            # Each caller raises its own object, because one object would collect the frames of all tracebacks.
            raise copy.copy(error)
        return refresh.task.result()

    def _begin(self, kind: Kind, cached: _CachedList, make: Callable[[], Awaitable[Listing]]) -> _Refresh:
        """The refresh in progress, or a new one."""
        if cached.refresh is None or cached.refresh.task.done():
            task = asyncio.get_running_loop().create_task(self._refresh(kind, cached, make))
            cached.refresh = refresh = _Refresh(task)
            task.add_done_callback(lambda _: self._take_error(kind, refresh))
        return cached.refresh

    def _take_error(self, kind: Kind, refresh: _Refresh) -> None:
        """Log the error of a refresh whose callers have left."""
        if refresh.task.cancelled() or (error := refresh.task.exception()) is None or refresh.callers:
            return
        if isinstance(error, UpstreamError):
            log.debug("group %s: no new %s: %s", self._group, kind.method, error)
        else:
            report_bug(f"group {self._group}", error)

    async def _refresh(
        self, kind: Kind, cached: _CachedList, make: Callable[[], Awaitable[Listing]]
    ) -> tuple[Listing, int]:
        """Make a listing and cache it; the listing and its number. A change meanwhile begins it again, a doubt does not."""
        cached.was_in_vain = True
        try:
            for _ in range(_ATTEMPTS):
                cached.last_begun += 1
                number = cached.last_begun
                listing = await make()
                if number > cached.changed_after:
                    cached.was_in_vain = False
                    break
        finally:
            cached.ended = asyncio.get_running_loop().time()
        cached.listing, cached.number = listing, number
        self._report_cut(kind, listing)
        if kind is TOOLS:
            await self.tools.prepare(listing)
        return listing, number

    def _report_cut(self, kind: Kind, listing: Listing) -> None:
        if listing.cut and kind not in self._reported:
            # Once, because the upstream may announce changes all the time.
            self._reported.add(kind)
            report_cut(self._group, kind, listing)

    def invalidate(self, method: str) -> None:
        """Note that the lists of this notification have changed: the cached ones are outdated."""
        for kind in CHANGED.get(method, ()):
            self._lists[kind].changed_after = self._lists[kind].last_begun

    def doubt(self, kinds: Iterable[Kind]) -> None:
        """Note that these lists may have changed: the cached ones are in doubt. A call of a known name still uses them."""
        for kind in kinds:
            self._lists[kind].doubted_after = self._lists[kind].last_begun

    def clear(self) -> None:
        """Drop everything but the names, because the connection ends. A refresh without a caller ends too."""
        for kind, cached in self._lists.items():
            cached.changed_after = cached.last_begun
            if cached.refresh is not None and not cached.refresh.callers:
                cached.refresh.task.cancel()
            self._lists[kind] = _CachedList(None if cached.names is None else frozenset(cached.names))
