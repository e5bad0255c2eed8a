"""The end of a child's stderr, for the error message of a call that the child could not answer.

This module always reads the pipe, so a chatty child never waits. It keeps only the last bytes, and never writes them to the proxy's
stderr. They may contain secrets, so ``HiddenValues`` hides the values of the configuration.
"""

from __future__ import annotations

import asyncio
import os

from dynamic_mcp.hiding import HiddenValues

#: Bytes to keep.
MAX_TAIL = 8192

_CHUNK = 1 << 16
_MAX_CHUNKS = 32


class StderrTail:
    """Owns a descriptor, and reads it until its end or ``close``."""

    def __init__(self, descriptor: int, hidden: HiddenValues) -> None:
        self._descriptor: int | None = descriptor
        self._hidden = hidden
        # The value that the kept bytes may begin with has to fit, too.
        self._most = MAX_TAIL + hidden.longest
        self._kept = bytearray()
        self._is_whole = True
        #: bytes that the child wrote so far
        self.written = 0
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def text(self) -> str:
        """The last lines, up to what is in the pipe now; empty if the child wrote nothing."""
        self._read_waiting()
        text = self._kept.decode(errors="surrogateescape")
        shown = self._hidden.end_of(text, whole=self._is_whole)
        return shown.encode(errors="surrogateescape").decode(errors="replace")

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
            self._kept += data
            self.written += len(data)
            # Only now and then, because a child may write byte by byte.
            if len(self._kept) > 2 * self._most:
                del self._kept[: -self._most]
                self._is_whole = False
        else:
            self.close()
        return bool(data)
