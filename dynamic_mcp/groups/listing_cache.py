"""The listings of one upstream, until it announces a change, or a caller doubts them (``renewals``).

However many callers need a listing, the upstream gets one request for each page. Without a failure or a timeout, a caller gets a listing
that began after the last change before its request. If an upstream does not list again after a change, the last listing stays in use. A
listing that began goes on without its callers, until the connection is gone. So a slow one delays few calls of a known name. The names of
the last listing stay, also while the upstream is gone. The cache holds every tool, and shows only those that the configuration allows.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.groups.listing import CHANGED, TOOLS, Doubt, Kind, Listing, incomplete, report_cut
from dynamic_mcp.groups.renewals import LISTING_WAIT, PAUSE, Renewals
from dynamic_mcp.groups.tool_filter import ToolFilter
from dynamic_mcp.log import log, report_bug

#: How often to make a listing that changes meanwhile, because it may change all the time.
_ATTEMPTS = 3


class _Making:
    """A listing that is being made, and the number of its callers. The task returns the number of the listing too."""

    def __init__(self, task: asyncio.Task[tuple[Listing, int]]) -> None:
        self.task = task
        self.callers = 0
        #: when it began, by the clock of the loop
        self.began = task.get_loop().time()


class _Kept:
    """What one connection listed of one kind. The listings have numbers from 1 on, in the order in which they begin."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.listing: Listing | None = None
        #: the names in the last listing of the connections before
        self.names_before = names
        #: the numbers of ``listing``, and of the listing that began last
        self.number = self.begun = 0
        #: the last listing that began before the last change, and before the last doubt
        self.changed = self.doubted = 0
        self.making: _Making | None = None
        #: when the last one ended, by the clock of the loop, and whether it was in vain
        self.ended = float("-inf")
        self.was_in_vain = False

    @property
    def names(self) -> Collection[str] | None:
        return self.names_before if self.listing is None else self.listing

    @property
    def uncertain(self) -> int:
        """The last listing that may be out of date."""
        return max(self.changed, self.doubted)

    @property
    def is_outdated(self) -> bool:
        return self.number <= self.changed

    @property
    def is_certain(self) -> bool:
        return self.number > self.uncertain

    def rests(self) -> bool:
        """Whether a call of a known name lets the upstream rest after its last listing, because a new one may be in vain too."""
        if self.making is not None and not self.making.task.done():
            return False
        is_soon = asyncio.get_running_loop().time() < self.ended + PAUSE
        return is_soon and (self.was_in_vain or not self.is_outdated)


class ListingCache:
    """The listings of the upstream of one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._kept: defaultdict[Kind, _Kept] = defaultdict(_Kept)
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
        """The cached listing, or None. There is none after a change or a doubt."""
        return self.last(kind) if self._kept[kind].is_certain else None

    def last(self, kind: Kind) -> Listing | None:
        """The last listing of the connected upstream, also if it has changed since. None if there was none."""
        listing = self._kept[kind].listing
        return None if listing is None else self._shown(kind, listing)

    def names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing, also while the upstream is gone. None if there was no listing yet."""
        if (listing := self.last(kind)) is not None:
            return listing
        names = self._kept[kind].names
        return self.tools.allowed_names(names) if kind is TOOLS and names is not None else names

    def _shown(self, kind: Kind, listing: Listing) -> Listing:
        return self.tools.allowed(listing) if kind is TOOLS else listing

    def inherit(self, other: ListingCache) -> None:
        """Take over the names of a predecessor, for each kind that has no listing yet."""
        for kind, kept in other._kept.items():
            own = self._kept[kind]
            if own.names_before is None and kept.names is not None:
                own.names_before = frozenset(kept.names)

    async def obtain(
        self, kind: Kind, make: Callable[[], Awaitable[Listing]], seconds: float, doubt: Doubt
    ) -> Listing:
        """The listing, made within ``seconds`` if it is not cached. If this fails, the last one is the result. Raises UpstreamError.

        The last one is also the result in these cases, by ``doubt``:

        - ``NONE``: without a change; and after a change, once the new one takes too long, or soon after one that failed.
        - ``MISSING``: without a change, if ``renewals`` allows no new one now.
        - ``ASKED`` and ``COMPARED``: without a change and a doubt.
        """
        kept = self._kept[kind]
        known, after = kept.listing, kept.uncertain
        if known is None:
            return await self._fill_within(seconds, kind, make, after)
        is_renewal = doubt is Doubt.MISSING and not kept.is_outdated
        if is_renewal:
            if not self._renewals[kind].take():
                return self._shown(kind, known)
            # Another caller's new listing may have begun before the change that this caller looks for.
            after, seconds = kept.begun, min(seconds, LISTING_WAIT)
        elif kept.is_certain or (doubt is Doubt.NONE and kept.rests()):
            return self._shown(kind, known)
        elif doubt is Doubt.NONE:
            seconds = self._patience(kind, kept, make, seconds)
        if seconds <= 0.0:
            return self._shown(kind, known)
        try:
            return await self._fill_within(seconds, kind, make, after)
        except UpstreamError as failure:
            if is_renewal:
                self._renewals[kind].pause()
            self._report_outdated(kind, kept, failure)
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

    def _patience(
        self, kind: Kind, kept: _Kept, make: Callable[[], Awaitable[Listing]], seconds: float
    ) -> float:
        """The seconds that a call of a known name waits for the new listing, which it begins if necessary.

        All calls together wait once. Half of the time of a call stays for the call itself.
        """
        making = self._begin(kind, kept, make)
        waited = asyncio.get_running_loop().time() - making.began
        return min(seconds / 2, LISTING_WAIT - waited) if kept.is_outdated else 0.0

    def _report_outdated(self, kind: Kind, kept: _Kept, failure: UpstreamError) -> None:
        is_new = kept.is_outdated and kind not in self._reported_outdated
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
        """Make a listing and cache it, together with all other callers. Raises what ``make`` raises.

        Its number is above ``after``: by default, it began after the last change and the last doubt.
        """
        kept = self._kept[kind]
        after = kept.uncertain if after is None else after
        while True:
            listing, number = await self._join(kind, kept, make)
            if number > after:
                return self._shown(kind, listing)

    async def _join(
        self, kind: Kind, kept: _Kept, make: Callable[[], Awaitable[Listing]]
    ) -> tuple[Listing, int]:
        making = self._begin(kind, kept, make)
        making.callers += 1
        try:
            await asyncio.wait([making.task])
        finally:
            making.callers -= 1
            if not making.callers and self._kept[kind] is not kept:
                making.task.cancel()
        if making.task.cancelled():
            raise UpstreamFailed(f"the proxy closed the connection while it waited for {kind.method}")
        if (error := making.task.exception()) is not None:
            # Each caller raises its own object, because one object would collect the frames of all tracebacks.
            raise copy.copy(error)
        return making.task.result()

    def _begin(self, kind: Kind, kept: _Kept, make: Callable[[], Awaitable[Listing]]) -> _Making:
        """The listing that is being made, or a new one."""
        if kept.making is None or kept.making.task.done():
            task = asyncio.get_running_loop().create_task(self._make(kind, kept, make))
            kept.making = making = _Making(task)
            task.add_done_callback(lambda _: self._take_error(kind, making))
        return kept.making

    def _take_error(self, kind: Kind, making: _Making) -> None:
        """Log the error of a listing whose callers have left."""
        if making.task.cancelled() or (error := making.task.exception()) is None or making.callers:
            return
        if isinstance(error, UpstreamError):
            log.debug("group %s: no new %s: %s", self._group, kind.method, error)
        else:
            report_bug(f"group {self._group}", error)

    async def _make(
        self, kind: Kind, kept: _Kept, make: Callable[[], Awaitable[Listing]]
    ) -> tuple[Listing, int]:
        """A listing and its number. It is made again if the upstream announces a change meanwhile, but not after a doubt."""
        kept.was_in_vain = True
        try:
            for _ in range(_ATTEMPTS):
                kept.begun += 1
                number = kept.begun
                listing = await make()
                if number > kept.changed:
                    kept.was_in_vain = False
                    break
        finally:
            kept.ended = asyncio.get_running_loop().time()
        kept.listing, kept.number = listing, number
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
        """Make the lists that changed according to this notification again, before a caller gets one."""
        for kind in CHANGED.get(method, ()):
            self._kept[kind].changed = self._kept[kind].begun

    def doubt(self, kinds: Iterable[Kind]) -> None:
        """Note that these lists may have changed. A call of a known name still uses the last one."""
        for kind in kinds:
            self._kept[kind].doubted = self._kept[kind].begun

    def clear(self) -> None:
        """Drop everything but the names, because the connection ends. Listings without a caller end too."""
        for kind, kept in self._kept.items():
            kept.changed = kept.begun
            if kept.making is not None and not kept.making.callers:
                kept.making.task.cancel()
            self._kept[kind] = _Kept(None if kept.names is None else frozenset(kept.names))
