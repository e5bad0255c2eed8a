"""How long to wait before a server is connected again, after what has happened to it."""

from __future__ import annotations

import time
from itertools import chain, repeat

#: Seconds before each attempt after a failure (README: "2s, 4s, 8s", then "every 30 seconds").
RETRY_DELAYS = (2.0, 4.0, 8.0)
RETRY_FOREVER = 30.0
#: Seconds before a server that was ready and died is started again for the first time; then the delays above.
RESTART_DELAY = 1.0
#: Seconds that a server must have been ready for its death to count as a first one.
STEADY = 30.0


class Backoff:
    """How long to wait before the next attempt, in seconds, after what has happened."""

    def __init__(self) -> None:
        self.next = 0.0
        #: whether the user signed in since the last connection: no second window for the same thing
        self.signed_in = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._delays = chain(RETRY_DELAYS, repeat(RETRY_FOREVER))
        self._crashed = False

    def connected(self) -> None:
        """It works."""
        self._connected_at = time.monotonic()
        self.signed_in = False

    def after_failure(self) -> None:
        """It could not be connected."""
        self.next = next(self._delays)

    def after_crash(self) -> bool:
        """It was connected and is lost; true when it comes back at once, because that is new of it."""
        if time.monotonic() >= self._connected_at + STEADY:
            self._begin_anew()
        first, self._crashed = not self._crashed, True
        self.next = RESTART_DELAY if first else next(self._delays)
        return first
