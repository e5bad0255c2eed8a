"""Bounds how often something happens.

``Paced`` and ``Merger`` delay an action that exceeds the rate, and run it once. So the last change is not lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable

from dynamic_mcp.clock import Clock


class Bucket:
    """A token bucket: ``burst`` actions at once, and ``rate`` actions a second."""

    def __init__(self, burst: float, rate: float, clock: Clock = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._left = burst
        self._at = clock()

    def take(self, cost: float = 1.0) -> bool:
        """Whether an action is allowed now. A costly one may take more than is left, so later ones wait longer."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= cost
        return True


class Paced:
    """Acts now if the bucket allows it, else once, ``delay`` seconds later."""

    def __init__(self, action: Callable[[], None], bucket: Bucket, delay: float) -> None:
        self._action = action
        self._bucket = bucket
        self._delay = delay
        self._timer: asyncio.TimerHandle | None = None

    def act(self) -> None:
        """Act now or later, unless it acts later anyway."""
        if self._timer is not None:
            return
        if self._bucket.take():
            self._action()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._act_late)

    def _act_late(self) -> None:
        self._timer = None
        self._bucket.take()
        self._action()

    def stop(self) -> None:
        """Do not act later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Merger:
    """Acts at once for the first of several equal events, and for the last of those that follow within ``interval`` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._latest: dict[Hashable, Callable[[], None]] = {}

    def put(self, key: Hashable, act: Callable[[], None]) -> None:
        """Call ``act``, now or soon, unless a later one with this ``key`` replaces it."""
        if key in self._timers:
            self._latest[key] = act
        else:
            self._act(key, act)

    def close(self) -> None:
        """Do nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._latest.clear()

    def _act(self, key: Hashable, act: Callable[[], None]) -> None:
        self._timers[key] = self._loop.call_later(self._interval, self._go_on, key)
        act()

    def _go_on(self, key: Hashable) -> None:
        del self._timers[key]
        if (act := self._latest.pop(key, None)) is not None:
            self._act(key, act)
