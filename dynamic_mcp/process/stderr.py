"""The last words of a child: the end of its stderr, kept for the answer to a call that it could not give.

The pipe is always read, so that a chatty child never waits; only the last bytes are kept, and they are never written to our own
stderr. They may hold anything, so values that the configuration gave to the child are blotted out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

#: Bytes that are kept, and of these the lines and characters that are shown.
KEPT = 8192
SHOWN_LINES = 5
SHOWN_CHARACTERS = 600

# A shorter value would blot out ordinary words.
_MIN_SECRET = 6
_CHUNK = 1 << 16
_MAX_CHUNKS = 32


class StderrTail:
    """Reads a descriptor that it owns until the end or ``close``."""

    def __init__(self, descriptor: int, secrets: Iterable[str] = ()) -> None:
        self._descriptor: int | None = descriptor
        self._kept = b""
        # The longest first: one value may be part of another.
        self._secrets = sorted((s for s in secrets if len(s) >= _MIN_SECRET), key=len, reverse=True)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def text(self) -> str:
        """The last lines, what is in the pipe by now included; empty when the child said nothing."""
        self._read_waiting()
        text = self._kept.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "[hidden]")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-SHOWN_LINES:])[-SHOWN_CHARACTERS:]

    def close(self) -> None:
        """Stop reading. Bytes that come later meet a closed pipe."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _read_waiting(self) -> None:
        """Take what the child has written before it left; bounded, because another process may still be writing."""
        for _ in range(_MAX_CHUNKS):
            if self._descriptor is None or not self._read():
                return

    def _read(self) -> bool:
        """Take one chunk; false when there was none."""
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._kept = (self._kept + data)[-KEPT:]
        else:
            self.close()
        return bool(data)
