"""Warnings that can come many times for one reason."""

from __future__ import annotations

import asyncio

from dynamic_mcp.log import log

#: Seconds between two lines about the same reason.
INTERVAL = 60.0


class RepeatedWarning:
    """Logs the first warning for a reason, and the number of the further ones each minute."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        #: the number of warnings since the last line, by reason
        self._counts: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def warn(self, text: str, reason: str) -> None:
        """Log a text, unless a line about this reason is less than a minute old."""
        if reason in self._counts:
            self._counts[reason] += 1
            return
        log.warning("%s", text)
        self._begin(reason)

    def close(self) -> None:
        """Log the numbers that are left."""
        for reason in list(self._counts):
            self._timers.pop(reason).cancel()
            self._log(reason)

    def _begin(self, reason: str) -> None:
        self._counts[reason] = 0
        self._timers[reason] = asyncio.get_running_loop().call_later(self._interval, self._look, reason)

    def _look(self, reason: str) -> None:
        del self._timers[reason]
        if self._log(reason):
            self._begin(reason)

    def _log(self, reason: str) -> int:
        """Log the number of warnings for a reason, and forget it; the number."""
        count = self._counts.pop(reason)
        if count:
            log.warning("%d more of this: %s", count, reason)
        return count
