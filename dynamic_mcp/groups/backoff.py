"""The delays between attempts to connect one server."""

from __future__ import annotations

import os
import time
from itertools import chain, repeat

from dynamic_mcp.clock import Clock
from dynamic_mcp.errors import HttpStatus, UpstreamError

#: Seconds before each attempt after a failure (dynamic-mcp README.md: "2s, 4s, 8s", then "every 30 seconds").
RETRY_DELAYS = (2.0, 4.0, 8.0)
RETRY_FOREVER = 30.0
#: Seconds before the restart after a first crash; later crashes have the delays above.
RESTART_DELAY = 1.0
#: The largest random share by which a delay grows, so that servers that fail together do not start together again.
JITTER = 0.25
#: Seconds for which a server can ask for no further attempt (``Retry-After``). One that asks for more gets the next attempt then, because
#: the limit of another client, or a mistake, must not lock the user out.
MAX_PAUSE = 300.0
#: After this many seconds of being ready, the next crash counts as the first one again.
STEADY = 30.0
#: A connection that ends after fewer seconds is a crash, even if the server ends it in good order.
SHORT = 0.5


class Backoff:
    """The delay before the next attempt."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        #: seconds before the next attempt
        self.next = 0.0
        self._start_over()

    def _start_over(self) -> None:
        self._delays = chain(RETRY_DELAYS, repeat(RETRY_FOREVER))
        self._crashed = False

    def connected(self) -> None:
        """Note that the server is connected."""
        self._connected_at = self._clock()

    def after_failure(self) -> None:
        """Choose the delay after a failed attempt."""
        self.next = _spread(next(self._delays))

    def pause(self, error: UpstreamError) -> float:
        """Lengthen the delay to the time for which the server asks in this error; the seconds, 0 if it does not ask."""
        seconds = min(error.retry_after, MAX_PAUSE) if isinstance(error, HttpStatus) else 0.0
        self.next = max(self.next, seconds)
        return seconds

    def after_end(self) -> bool:
        """Choose no delay after a connection that the server ended in good order. False if it was too short for that."""
        self.next = 0.0
        return self._clock() >= self._connected_at + SHORT

    def after_crash(self) -> bool:
        """Choose the delay after the loss of a connection. True for the first recent crash, which has a short delay."""
        if self._clock() >= self._connected_at + STEADY:
            self._start_over()
        first, self._crashed = not self._crashed, True
        self.next = _spread(RESTART_DELAY if first else next(self._delays))
        return first


def _spread(delay: float) -> float:
    # An import could fail here: one reason of a failure is a lack of memory.
    return delay * (1 + JITTER * int.from_bytes(os.urandom(2)) / 0xFFFF)
