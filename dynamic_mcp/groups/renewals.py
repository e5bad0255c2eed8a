"""Decide when the proxy asks an upstream for a list again although the upstream announced no change.

Many servers change their lists without a word, for example after a sign-in by a tool. So a list that a client asks for, or that lacks a
name, is made anew. The proxy also looks for changes after an upstream could announce none for a while. The rate is bounded, because a model
may repeat a wrong name, and a server may end its stream of notifications again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from dynamic_mcp.clock import Clock

#: Lists that may be made anew at once, and seconds until one more may. Each call of a tool allows one more too: it may change the list.
BURST = 3
INTERVAL = 2.0
#: Seconds that callers wait for a new list before they get the known one, because the server may be busy with a call.
PATIENCE = 3.0
#: Seconds without a new list after one that failed, so that not every caller waits for it.
PAUSE = 30.0


class Renewals:
    """The allowance of one list."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = self._clock()

    def take(self) -> bool:
        """Whether the list may be made anew now."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._at) / INTERVAL)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def earn(self) -> None:
        """Allow one more, because a call has an answer. A pause ends too, because the server is not busy with this call any more."""
        self._left = min(BURST, max(self._left, 0.0) + 1.0)

    def pause(self) -> None:
        """Allow none for a while, because the last one failed."""
        self._left, self._at = 1.0 - PAUSE / INTERVAL, self._clock()


class Paced:
    """Does something at the rate of an allowance. What it cannot do now, it does once, later."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._allowance = Renewals()
        self._timer: asyncio.TimerHandle | None = None

    def act(self) -> None:
        """Act now, or within ``INTERVAL`` seconds."""
        if self._timer is not None:
            return
        if self._allowance.take():
            self._action()
        else:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._act_late)

    def _act_late(self) -> None:
        self._timer = None
        self._allowance.take()
        self._action()

    def stop(self) -> None:
        """Do not act later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
