"""Writes lines into a pipe with few system calls.

The first line of a turn of the event loop goes out at once, so a single line does not wait. The following lines of the same turn
go out in batches of ``BATCH_SIZE``. One write for each line is slow, and one write for all keeps the other side waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

#: The best of several. With 64 calls in flight, in calls of dmcp: 1 gives 4.3; 4 gives 3.9; 8 gives 5.2; 16 and 32 give 4.6 and 4.8.
BATCH_SIZE = 8

# A larger pipe than the 64 KiB that Linux gives by default saves a switch between processes for each 64 KiB of a large result.
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20


class LineWriter:
    """Writes lines to one pipe. It drops them once the transport is closed or closing."""

    __slots__ = ("_batch", "_loop", "_started", "transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        #: whether this turn wrote a line, and the lines since then
        self._started = False
        self._batch: list[bytes] = []

    @property
    def unread(self) -> int:
        """Bytes that the other side has not read, without the batch of this turn."""
        return self.transport.get_write_buffer_size()

    def write(self, line: bytes) -> None:
        """Send one line, with its line end."""
        self._batch.append(line)
        if not self._started:
            self._started = True
            self._loop.call_soon(self._end_turn)
            self.flush()
        elif len(self._batch) == BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Send the batch."""
        if self._batch:
            lines, self._batch = self._batch, []
            if not self.transport.is_closing():
                self.transport.write(b"".join(lines))

    def _end_turn(self) -> None:
        self._started = False
        self.flush()


def unread_bytes(pipe: object) -> int | None:
    """The bytes in the pipe that the other side has not read; None where the system does not tell."""
    try:
        import fcntl
        import termios

        found = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))  # type: ignore[attr-defined]
    except (ImportError, OSError, ValueError, AttributeError):
        return None
    return int.from_bytes(found, sys.byteorder)


def enlarge_pipe(pipe: object) -> None:
    """Give a pipe a larger buffer, where the system can do that."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[attr-defined]
