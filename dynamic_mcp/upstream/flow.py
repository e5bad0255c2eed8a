"""How fast one connection is read, so that no server takes the event loop, or the memory, from the others.

A connection has a share of each turn of the loop. More messages wait for the next turn, and meanwhile the proxy does not read the
connection. The proxy also stops reading during a *hold*. There are three: the client does not read, the server does not take the answers to
its requests (``Owed``), or the proxy reads a large message. A large message takes several turns.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.pieces import Large, Line

#: Seconds of one turn of the loop that a connection may take. Only a large message is interrupted.
SHARE = 0.001
#: Messages of a connection before the clock starts. Most turns have fewer, so they cost neither the clock nor a callback.
UNTIMED = 16
#: Bytes that count like one message.
_MESSAGE_BYTES = 128
#: Bytes of lines, and of events, that the proxy splits at once: a few milliseconds at most, even if every byte ends a line.
LINES_AT_ONCE = 8 << 10
EVENTS_AT_ONCE = 2 << 10
#: A chunk with at most so many line ends is split as a whole.
_FEW_LINES = 32

#: Bytes of answers that may wait for one server.
MAX_OWED = 16 << 20
#: Seconds in which a server has to take some of these answers, once the proxy reads nothing more from it.
OWED_GRACE = 10.0

#: Called with the size of bytes without a message, and the number of their lines.
OnBlank = Callable[[int, int], None]


class LoopShare:
    """The share of one connection in the current turn of the loop."""

    __slots__ = ("_end", "_loop", "_messages")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages = 0
        self._end: float | None = None

    def is_used_up(self, messages: int = 1) -> bool:
        """Count messages; whether the connection has used its share, and has to wait for the next turn."""
        self._messages += messages
        if self._messages < UNTIMED:
            return False
        if self._end is None:
            self._end = time.monotonic() + SHARE
            self._loop.call_soon(self._begin)
            return False
        return time.monotonic() >= self._end

    def is_used_up_after(self, piece: bytes) -> bool:
        """``is_used_up`` for bytes that may contain no message."""
        return self.is_used_up(len(piece) // _MESSAGE_BYTES)

    def _begin(self) -> None:
        self._messages = 0
        self._end = None


def pieces(chunk: bytes, size: int) -> Iterable[bytes]:
    """``chunk`` in pieces of ``size`` bytes, or as a whole if it has few line ends."""
    if len(chunk) <= size or _has_few_lines(chunk):
        return (chunk,)
    return [chunk[start : start + size] for start in range(0, len(chunk), size)]


def _has_few_lines(chunk: bytes) -> bool:
    # To find a few line ends takes a thirtieth of the time that counting all takes.
    left = _FEW_LINES
    for end in (b"\n", b"\r"):
        at = chunk.find(end)
        while at >= 0:
            left -= 1
            if left < 0:
                return False
            at = chunk.find(end, at + 1)
    return True


class Holds:
    """The reasons for which a connection is not read at the moment. ``on_change`` gets whether there is one."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self.reasons: set[str] = set()
        self._on_change = on_change

    def set(self, reason: str, holds: bool) -> None:
        """Add or remove a reason."""
        before = bool(self.reasons)
        if holds:
            self.reasons.add(reason)
        else:
            self.reasons.discard(reason)
        if bool(self.reasons) != before:
            self._on_change(not before)


class LineFlow:
    """Passes on the lines of one child, in order, and reads from the child no faster than that."""

    def __init__(
        self,
        splitter: LineSplitter,
        receive: Callable[[bytes], bool | None],
        receive_slowly: Callable[[Line], Awaitable[None]],
        on_blank: OnBlank,
        on_error: Callable[[Exception], None],
    ) -> None:
        """``receive`` gets each line; ``on_blank`` counts blank lines, and ``on_error`` gets an unexpected error.

        ``receive_slowly`` gets each large line, and each for which ``receive`` returns true. The lines after it wait until it returns.
        """
        self.holds = Holds(self._on_hold)
        self._splitter = splitter
        self._receive = receive
        self._receive_slowly = receive_slowly
        self._large: asyncio.Task[None] | None = None
        self._on_blank = on_blank
        self._on_error = on_error
        self._share = LoopShare()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.ReadTransport | None = None
        self._is_reading = True
        #: what waits for its turn: lines, and the bytes that follow them
        self._lines: deque[Line] = deque()
        self._pieces: deque[bytes] = deque()
        #: whether ``_work`` is scheduled
        self._waits = False

    def connect(self, transport: asyncio.ReadTransport) -> None:
        """Control this transport, which reads."""
        self._transport = transport
        self._update()

    def add(self, chunk: bytes) -> None:
        """Take bytes of the child."""
        try:
            self._add(chunk)
        except Exception as error:
            self._on_error(error)

    def _add(self, chunk: bytes) -> None:
        if chunk.find(b"\n") == len(chunk) - 1 and not (self._pieces or self._lines or self.holds.reasons):
            # Almost every chunk is one message, or the end of one. The way below takes 0.7 µs more, a quarter of parsing it.
            for line in self._splitter.feed(chunk):
                self._pass(line)
            if self._share.is_used_up(1 + len(chunk) // _MESSAGE_BYTES):
                self._wait()
                self._update()
            return
        self._pieces.extend(pieces(chunk, LINES_AT_ONCE))
        if not self._waits:
            self._work()

    async def passed(self) -> None:
        """Wait until all lines have been passed on, except those that a hold keeps back."""
        while self._waits or (self._large is not None and not self._large.done()):
            await (asyncio.sleep(0) if self._large is None else asyncio.wait([self._large]))

    @property
    def has_waiting(self) -> bool:
        """Whether lines that were read wait for their turn."""
        return bool(self._lines or self._pieces)

    def close(self) -> None:
        """Stop reading for good, and drop what waits."""
        self._lines.clear()
        self._pieces.clear()
        if self._large is not None:
            self._large.cancel()
        if self._transport is not None:
            self._transport.close()

    def _work(self) -> None:
        try:
            self._pass_on()
        except Exception as error:
            # For example a lack of memory. The loop would only log it.
            self._on_error(error)

    def _pass_on(self) -> None:
        """Pass lines on until a hold begins, none is left, or the share of this turn is used."""
        self._waits = False
        while (self._lines or self._pieces) and not self.holds.reasons:
            if self._lines:
                self._pass(self._lines.popleft())
                is_used_up = self._share.is_used_up()
            else:
                is_used_up = self._split(self._pieces.popleft())
            if is_used_up:
                self._wait()
                break
        self._update()

    def _pass(self, line: Line) -> None:
        if isinstance(line, Large) or self._receive(line):
            self.holds.set("large", True)
            self._large = self._loop.create_task(self._pass_slowly(line))

    async def _pass_slowly(self, line: Line) -> None:
        try:
            await self._receive_slowly(line)
        except Exception as error:
            self._on_error(error)
        finally:
            self._large = None
            self.holds.set("large", False)

    def _split(self, piece: bytes) -> bool:
        lines = self._splitter.feed(piece)
        self._lines.extend(lines)
        if not lines and piece.isspace() and (count := piece.count(b"\n")):
            self._on_blank(len(piece), count)
        return self._share.is_used_up_after(piece)

    def _wait(self) -> None:
        """Go on in the next turn."""
        self._waits = True
        self._loop.call_soon(self._work)

    def _on_hold(self, is_held: bool) -> None:
        if not is_held and not self._waits and (self._lines or self._pieces):
            self._wait()
        self._update()

    def _update(self) -> None:
        """Read exactly while there is no hold and nothing waits."""
        reads = not (self._waits or self.holds.reasons)
        if reads is not self._is_reading and self._transport is not None and not self._transport.is_closing():
            self._is_reading = reads
            if reads:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


class EventFlow:
    """Passes on the bodies of HTTP replies of one server, which may come on several streams at once."""

    def __init__(self, on_blank: OnBlank) -> None:
        """``on_blank`` counts comments and blank lines."""
        self.holds = Holds(self._on_hold)
        self._on_blank = on_blank
        self._share = LoopShare()
        self._open = asyncio.Event()
        self._open.set()

    async def pieces(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The bytes of ``chunks``, in pieces that do not take long to parse."""
        async for chunk in chunks:
            for piece in pieces(chunk, EVENTS_AT_ONCE):
                if self.holds.reasons:
                    await self._open.wait()
                yield piece
                if self._share.is_used_up_after(piece):
                    await asyncio.sleep(0)

    def count_blank(self, piece: bytes) -> None:
        """Note that a piece contains nothing but comments and blank lines."""
        self._on_blank(len(piece), piece.count(b"\n"))

    def _on_hold(self, is_held: bool) -> None:
        if is_held:
            self._open.clear()
        else:
            self._open.set()


class Owed:
    """The answers that wait for one server. Beyond ``MAX_OWED`` bytes, the proxy reads nothing more from it.

    A server that takes none of them within ``OWED_GRACE`` loses its connection.
    """

    def __init__(self, size: Callable[[], int], holds: Holds, end: Callable[[str], None]) -> None:
        """``size`` gives the bytes that wait now; ``end`` ends the connection with a reason."""
        self._size = size
        self._holds = holds
        self._end = end
        self._loop = asyncio.get_running_loop()
        #: runs while the answers hold the connection
        self._timer: asyncio.TimerHandle | None = None

    def grew(self) -> None:
        """Note that an answer waits."""
        if self._timer is None and (size := self._size()) > MAX_OWED:
            self._watch(size)
            self._holds.set("owed", True)

    def shrank(self) -> None:
        """Note that the server took answers."""
        if self._timer is not None and self._size() <= MAX_OWED // 2:
            self.close()
            self._holds.set("owed", False)

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, size: int) -> None:
        self._timer = self._loop.call_later(OWED_GRACE, self._check, size)

    def _check(self, before: int) -> None:
        size = self._size()
        if size >= before:
            self._end(f"asks and does not take the answers; {format_size(MAX_OWED)} of them wait for it")
        else:
            self._watch(size)
            self.shrank()
