"""The process that a client starts with ``--share``: it passes messages between the client and the serving process.

It needs little memory, and one thread. If the serving process dies, it joins or starts another one, which learns the session from it
(``memory``). It ends with its client.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dynamic_mcp import files
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.sharing.election import Election, Serve
from dynamic_mcp.extras.sharing.memory import SessionMemory
from dynamic_mcp.log import log
from dynamic_mcp.protocol.lines import MAX_MESSAGE

_CHUNK = 1 << 18
#: Bytes that may wait in one direction before the other end is not read.
_HIGH = 1 << 20
#: A serving process that lived shorter, in seconds, counts as broken; and how many of them in a row end the session.
_SHORT_LIFE, _MAX_SHORT_LIVES = 2.0, 5
#: Seconds in which the client has to read its last answers.
_FLUSH_GRACE = 1.0


def run(path: Path, serve: Serve) -> int:
    """Serve the client on stdin and stdout; the exit status. ``serve`` is the serving process. Raises ConfigError.

    The path is absolute.
    """
    election = Election(path, serve)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(128 + number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A serving process that this one started leaves no zombie behind.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return _Attached(election).run()


class ByteFlow:
    """One direction: bytes that come in, and bytes that wait to go out."""

    def __init__(self, change: Callable[[bytes], bytes], max_line: float = float("inf")) -> None:
        """``change`` gets each line up to ``max_line`` bytes, and returns what goes on. A longer one goes on in pieces."""
        self.waiting = bytearray()
        self._max_line = max_line
        self._line = bytearray()
        self._change = change
        self._searched = 0
        #: whether the beginning of the current line has gone on, and whether it went to a process that is dead
        self._passes_rest = self._is_torn = False

    def feed(self, data: bytes) -> None:
        """Take bytes. Whole lines go on, as the memory of the session says."""
        self._line += data
        while (end := self._line.find(b"\n", self._searched)) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            self._searched = 0
            if not self._is_torn:
                self.waiting += line if self._passes_rest else self._change(line)
            self._passes_rest = self._is_torn = False
        self._searched = len(self._line)
        if len(self._line) > self._max_line or self._passes_rest or self._is_torn:
            # The serving process refuses a line of this length, so nothing of it has to be remembered.
            self._passes_rest = True
            if not self._is_torn:
                self.waiting += self._line
            self._line.clear()
            self._searched = 0

    def finish(self) -> None:
        """Pass on a last line without a line end."""
        if self._line:
            self.feed(b"\n")

    def drop_line(self) -> None:
        """Drop the beginning of a line, whose end never comes."""
        self._line.clear()
        self._searched = 0

    def drop_waiting(self) -> None:
        """Drop what has not gone, and the rest of a line that has gone in part."""
        self.waiting.clear()
        self._is_torn = self._passes_rest


class _Attached:
    """The two directions between the client and the serving process."""

    def __init__(self, election: Election) -> None:
        self._election = election
        self._memory = SessionMemory()
        self._up = ByteFlow(self._memory.to_server, MAX_MESSAGE)
        self._down = ByteFlow(self._memory.to_client)
        self._connection = self._join()
        self._began = time.monotonic()
        self._short_lives = 0
        #: whether the client has closed its end, and whether the serving process knows
        self._has_ended = self._has_told_end = False

    def run(self) -> int:
        """Pass on messages until the client or the connection ends; the exit status."""
        for descriptor in (0, 1):
            if files.is_pipe(descriptor):
                os.set_blocking(descriptor, False)
        while True:
            found = self._poll()
            if found.get(1, 0) & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                return 0
            if found.get(0, 0):
                self._read_client()
            try:
                if found.get(self._connection.fileno(), 0) and not self._move():
                    return 0
                self._tell_end()
            except OSError:
                if self._lost():
                    return 0
            if self._down.waiting and not _write(self._down.waiting):
                return 0

    def _poll(self) -> dict[int, int]:
        """Wait for something to do; the events by descriptor."""
        poll = select.poll()
        if not self._has_ended and len(self._up.waiting) < _HIGH:
            poll.register(0, select.POLLIN)
        reads = select.POLLIN if len(self._down.waiting) < _HIGH else 0
        if events := reads | (select.POLLOUT if self._up.waiting else 0):
            poll.register(self._connection, events)
        # Without an event to wait for, the poll still tells that the client has closed its end.
        poll.register(1, select.POLLOUT if self._down.waiting else 0)
        return dict(poll.poll())

    def _read_client(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._up.feed(data)
        else:
            self._up.finish()
            self._has_ended = True

    def _move(self) -> bool:
        """Read from and write to the serving process; false at the end of an ended session. Raises OSError if the process has gone."""
        if self._up.waiting:
            try:
                del self._up.waiting[: self._connection.send(self._up.waiting)]
            except BlockingIOError:
                pass
            except OSError:
                # The process has gone, but what it has written before can still be read.
                self._up.drop_waiting()
        if len(self._down.waiting) < _HIGH:
            try:
                data = self._connection.recv(_CHUNK)
            except BlockingIOError:
                return True
            if not data:
                if not self._has_told_end:
                    raise ConnectionResetError("the serving process has ended")
                self._lose(continues=False)
                _write_all(self._down.waiting)
                return False
            self._down.feed(data)
        return True

    def _tell_end(self) -> None:
        """Tell the serving process that the client sends nothing more."""
        if self._has_ended and not self._has_told_end and not self._up.waiting:
            self._has_told_end = True
            # The process may have gone, which the next read tells.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def _lose(self, *, continues: bool) -> None:
        """Answer what the serving process has not answered, and no other one will."""
        # A torn line of the dead process must not become the beginning of the next one.
        self._down.drop_line()
        self._up.drop_waiting()
        for line in self._memory.lost(continues=continues):
            self._down.waiting += line

    def _lost(self) -> bool:
        """Continue with another serving process; true if the session needs none. Raises ConfigError."""
        self._lose(continues=not self._has_ended)
        self._connection.close()
        if self._has_ended:
            _write_all(self._down.waiting)
            return True
        is_short = time.monotonic() - self._began < _SHORT_LIFE
        self._short_lives = self._short_lives + 1 if is_short else 0
        if self._short_lives >= _MAX_SHORT_LIVES:
            self._lose(continues=False)
            _write_all(self._down.waiting)
            raise ConfigError(
                f"the serving process ended {_MAX_SHORT_LIVES} times just after its start; see {self._election.log}"
            )
        log.warning("the connection to the serving process has ended; this session makes a new one")
        try:
            self._connection = self._join()
        except ConfigError:
            self._lose(continues=False)
            _write_all(self._down.waiting)
            raise
        self._began = time.monotonic()
        self._send([*self._memory.replay(), *self._memory.repeated()])
        return False

    def _join(self) -> socket.socket:
        connection = self._election.join()
        connection.setblocking(False)
        return connection

    def _send(self, lines: Iterable[bytes]) -> None:
        """Send these lines before everything else that comes from the client."""
        self._up.waiting[:0] = b"".join(lines)


def _write(waiting: bytearray) -> bool:
    """Write to the client what it takes now; false if it has gone."""
    try:
        del waiting[: os.write(1, waiting[:_CHUNK])]
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def _write_all(waiting: bytearray) -> None:
    """Write the last lines, unless the client does not read them in time."""
    end = time.monotonic() + _FLUSH_GRACE
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    while waiting and time.monotonic() < end:
        if poll.poll(_FLUSH_GRACE * 1000) and not _write(waiting):
            return
