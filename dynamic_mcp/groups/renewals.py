"""Decide when the proxy asks an upstream for a list again although the upstream announced no change.

Many servers change their lists without a word, for example after a sign-in by a tool. So a list that a client asks for, or that lacks a
name, is made anew. The proxy also looks for changes after an upstream could announce none for a while. The rate is bounded, because a model
may repeat a wrong name, and a server may end its stream of notifications again and again.
"""

from __future__ import annotations

import time

from dynamic_mcp.clock import Clock
from dynamic_mcp.pacing import Bucket

#: Lists that may be made anew at once, and seconds until one more may. Each call of a tool allows one more too: it may change the list.
BURST = 3
INTERVAL = 2.0
#: Seconds that callers wait for a new list before they get the known one, because the server may be busy with a call.
LISTING_WAIT = 3.0
#: Seconds without a new list after one that failed, so that not every caller waits for it.
PAUSE = 30.0


class Renewals(Bucket):
    """The allowance of one list."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(BURST, 1 / INTERVAL, clock)

    def earn(self) -> None:
        """Allow one more, because a call has an answer. A pause ends too, because the server is not busy with this call any more."""
        self._left = min(self._burst, max(self._left, 0.0) + 1.0)

    def pause(self) -> None:
        """Allow none for a while, because the last one failed."""
        self._left, self._at = 1.0 - PAUSE * self._rate, self._clock()
