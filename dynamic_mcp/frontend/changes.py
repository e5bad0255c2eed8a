"""Tells the client when a list that it got has changed: if an upstream announced that, or if a comparison shows it.

For each list that was answered, this module keeps a digest of the part of each group. When something happens that may change a list, such
as the start of a group, it makes the list again and compares. Several events close together cost one comparison and one notification.
A part that cannot be had now counts as unchanged, so a group that restarts with the same list is no change.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping

import msgspec

from dynamic_mcp.protocol.jsonrpc import Refusal
from dynamic_mcp.tasks import TaskSet

#: Seconds without a further event before the comparison, and the most seconds after the first event.
QUIET, MAX_DELAY = 0.25, 1.0


class View(msgspec.Struct, frozen=True):
    """A list as the client got it: a digest of each part that is not empty, and the groups whose parts are missing."""

    parts: dict[str, bytes]
    missing: frozenset[str] = frozenset()


class _Answered:
    """A list that the client got last, and how to make it again."""

    def __init__(self, view: View, make: Callable[[], Awaitable[View]]) -> None:
        self.parts = view.parts
        self.make = make

    def take(self, new: View) -> bool:
        """Note the list as it is now. Returns whether it has changed."""
        old, self.parts = self.parts, dict(new.parts)
        order = [group for group in new.parts if group in old]
        is_reordered = order != [group for group in old if group in new.parts]
        for group in old.keys() & new.missing:
            self.parts[group] = old[group]
        return is_reordered or self.parts != old


class ListChanges:
    """The lists that the client got. ``announce`` sends the notification with this method."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._answered: dict[str, dict[Hashable, _Answered]] = {}
        self._events: Counter[str] = Counter()
        #: when the first event came that no comparison has seen, and the timer of that comparison
        self._waiting: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        #: the lists that the client had before that event
        self._before: dict[str, dict[Hashable, _Answered]] = {}
        #: the methods whose upstream announced a change
        self._certain: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks = TaskSet()

    def events(self, method: str) -> int:
        """How many events may have changed the lists of this notification so far."""
        return self._events[method]

    def was_answered(self, method: str) -> bool:
        """Whether the client got a list of which this notification tells."""
        return bool(self._answered.get(method))

    def answered(
        self, method: str, key: Hashable, view: View, make: Callable[[], Awaitable[View]], began: int
    ) -> None:
        """Note that the client gets this list. ``make`` makes it again; ``began`` is the value of ``events`` when it began.

        The client may restrict a list to one group, so ``key`` says which list of this notification it is.
        """
        self._answered.setdefault(method, {})[key] = _Answered(view, make)
        if self._events[method] != began:
            self.suspect(method)

    def suspect(self, method: str) -> None:
        """Compare the lists soon, because something happened that may change them."""
        self._events[method] += 1
        if self.was_answered(method) or method in self._certain:
            self._compare_soon(method)

    def certain(self, method: str) -> None:
        """Announce a change soon, because the upstream did, and declared that it does."""
        self._certain.add(method)
        self.suspect(method)

    def close(self) -> None:
        """Announce nothing more."""
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._tasks.cancel()

    def _compare_soon(self, method: str) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        first, timer = self._waiting.get(method, (now, None))
        if timer is None:
            self._before[method] = dict(self._answered.get(method, {}))
        else:
            timer.cancel()
        at = min(now + QUIET, first + MAX_DELAY)
        self._waiting[method] = first, loop.call_at(at, self._begin, method)

    def _begin(self, method: str) -> None:
        del self._waiting[method]
        self._tasks.start(self._compare(method, self._before.pop(method)))

    async def _compare(self, method: str, before: Mapping[Hashable, _Answered]) -> None:
        is_told = method in self._certain
        self._certain.discard(method)
        if is_told:
            self._announce(method)
        async with self._locks.setdefault(method, asyncio.Lock()):
            for key, answered in before.items():
                try:
                    has_changed = answered.take(await answered.make())
                except Refusal:
                    # The configuration does not have this group any more.
                    has_changed = True
                    if self._answered[method].get(key) is answered:
                        del self._answered[method][key]
                if has_changed and not is_told:
                    is_told = True
                    self._announce(method)
