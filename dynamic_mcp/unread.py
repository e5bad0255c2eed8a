"""Writes to a stderr that may not be read. The event loop does not wait for a reader, with two exceptions.

MCP leaves it to the client whether it reads the stderr of a server. A pipe takes 64 KiB; without a reader, the next write would wait for
ever. So the sink asks before each write whether there is room. When there is none, it waits once, up to ``WAIT_FOR_ROOM``, for a reader
that is only slow. From then on it drops lines until there is room again, and then says how many.

A line is never torn: what has begun is written before the next line. Another process can fill the pipe between the question and the
write; then the write waits for the reader.
"""

from __future__ import annotations

import errno
import os
import select
import sys

#: Seconds to wait for room, before the first line is dropped.
WAIT_FOR_ROOM = 0.05
#: The errors of a reader that has gone for good.
GONE = (errno.EPIPE, errno.EBADF)
#: Bytes that a pipe with room takes at once.
_AT_ONCE = getattr(select, "PIPE_BUF", 512)


class UnreadSink:
    """Writes lines to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        #: the end of a line that was begun
        self._rest = b""
        self._dropped = 0
        self._is_patient = True
        self._is_broken = False

    def write(self, line: bytes) -> None:
        """Write a line with its line end, or drop it."""
        if self._is_broken or not self._flush():
            self._dropped += 1
            return
        if self._dropped:
            line = f"{self._dropped} log messages dropped, because stderr was not read\n".encode() + line
        self._rest = line
        self._flush()
        self._dropped = 0

    def _flush(self) -> bool:
        """Write what was begun. False if a part is left."""
        while self._rest:
            if not self._has_room():
                return False
            try:
                written = os.write(self.descriptor, self._rest[:_AT_ONCE])
            except BlockingIOError:
                return False
            except OSError as error:
                # Else the disk may be full at the moment.
                self._is_broken = error.errno in GONE
                self._rest = b""
                return False
            self._rest = self._rest[written:]
        return True

    def _has_room(self) -> bool:
        if sys.platform == "win32":
            return True
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        found = poll.poll(WAIT_FOR_ROOM * 1000 if self._is_patient else 0)
        self._is_patient = bool(found)
        return bool(found)


#: The stderr of the proxy.
STDERR = UnreadSink(2)


def occupy_streams() -> None:
    """Open the null device for each standard stream that the program started without, so that no file or socket gets its descriptor."""
    for descriptor in (0, 1, STDERR.descriptor):
        try:
            os.fstat(descriptor)
        except OSError:
            _lead_to_null(descriptor)


def discard_stderr() -> None:
    """Send everything to the null device from now on."""
    _lead_to_null(STDERR.descriptor)


def _lead_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
