"""Counts the data of one connection that means nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Lines and bytes of junk without a message between them, within ``JUNK_WINDOW`` seconds. Honest servers print some log lines.
MAX_JUNK_LINES = 10_000
MAX_JUNK_BYTES = 16 << 20
JUNK_WINDOW = 60.0


class JunkCount:
    """The junk since the last message. ``on_junk`` gets the reason to end the connection, once there is too much."""

    def __init__(self, on_junk: Callable[[str], None]) -> None:
        self._on_junk = on_junk
        self._loop = asyncio.get_running_loop()
        self._lines = self._bytes = 0
        #: the loop time of the first line
        self._since = 0.0

    def reset(self) -> None:
        """Note a message."""
        self._lines = 0

    def add(self, size: int, lines: int) -> None:
        """Count lines that mean nothing, with their bytes."""
        now = self._loop.time()
        if not self._lines or now - self._since > JUNK_WINDOW:
            self._since, self._lines, self._bytes = now, 0, 0
        self._lines += lines
        self._bytes += size
        if self._lines > MAX_JUNK_LINES or self._bytes > MAX_JUNK_BYTES:
            what = f"{self._lines} lines, {self._bytes} bytes"
            self._on_junk(f"sends only data that is no message or answers no request ({what})")
