"""The end of a child's stderr, for the error message of a call that the child could not answer.

This module always reads the pipe, so a chatty child never waits. It keeps only the last bytes, and never writes them to the proxy's
stderr. They may contain secrets, so it hides the values that the configuration gave to the child.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

#: Bytes to keep, and of these the lines and characters to show.
MAX_BYTES = 8192
MAX_LINES = 5
MAX_CHARACTERS = 600

# A shorter value could be part of ordinary words.
_MIN_SECRET = 6
_CHUNK = 1 << 16
_MAX_CHUNKS = 32


class StderrTail:
    """Owns a descriptor, and reads it until its end or ``close``."""

    def __init__(self, descriptor: int, secrets: Iterable[str] = ()) -> None:
        self._descriptor: int | None = descriptor
        self._kept = b""
        # The longest first: one value may be part of another.
        self._secrets = sorted((s for s in secrets if len(s) >= _MIN_SECRET), key=len, reverse=True)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def text(self) -> str:
        """The last lines, up to what is in the pipe now; empty if the child wrote nothing."""
        self._read_waiting()
        text = self._kept.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "[hidden]")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-MAX_LINES:])[-MAX_CHARACTERS:]

    def close(self) -> None:
        """Stop reading, and close the pipe."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _read_waiting(self) -> None:
        """Read what the child wrote before it exited; bounded, because another process may still write."""
        for _ in range(_MAX_CHUNKS):
            if self._descriptor is None or not self._read():
                return

    def _read(self) -> bool:
        """Read one chunk; false if the pipe had none."""
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._kept = (self._kept + data)[-MAX_BYTES:]
        else:
            self.close()
        return bool(data)
