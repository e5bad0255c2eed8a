"""The connection to the client: the proxy's stdin and stdout, as lines of bytes.

Only protocol messages reach the real stdout. Its descriptor moves at the start, and stdout becomes stderr, so a ``print`` of a library
or of a child cannot break the stream. While the client does not read, the proxy reads neither from the client nor from the upstreams,
which bounds the memory for unread messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from dynamic_mcp import files
from dynamic_mcp.hooks import EarlyResponder
from dynamic_mcp.process.pipes import LineWriter, enlarge_pipe
from dynamic_mcp.protocol.lines import MAX_MESSAGE, LineSplitter
from dynamic_mcp.protocol.pieces import Large, Line
from dynamic_mcp.upstream.flow import Holds

#: Seconds in which the client has to read its last answers when the proxy ends.
FLUSH_GRACE = 1.0


def take_over_stdio() -> tuple[int, int]:
    """Move stdin and stdout to private descriptors, which no child inherits; the descriptors."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, sink


class LineReceiver(Protocol):
    """Takes the lines of the client, in order."""

    def receive(self, line: bytes) -> None: ...

    async def receive_large(self, line: Large) -> None: ...

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Take the beginning of a line that is too long, and then its end (``OnOversized``)."""
        ...


class ClientLink:
    """Reads lines from the client, and writes lines to it, until one of the streams ends."""

    def __init__(
        self,
        source: int,
        sink: int,
        on_pause: Callable[[bool], None] = lambda paused: None,
        early: EarlyResponder | None = None,
    ) -> None:
        """``on_pause`` gets True when the client stops reading its answers, and False when it reads again.

        ``early`` has answered the first requests of the client.
        """
        self._source = source
        self._sink = sink
        #: set once the client sends nothing more, and all of its lines are passed on; or by ``end``
        self._input_closed = asyncio.Event()
        #: set once no further answer can reach the client; or by ``end``
        self._output_closed = asyncio.Event()
        #: set once the client has taken the last answers, or will take no more
        self._flushed = asyncio.Event()
        self._on_pause = on_pause
        self._early = early
        self._splitter = LineSplitter()
        self._drops_answers = False
        self._receive: Callable[[bytes], None] = lambda line: None
        self._receive_large: Callable[[Large], Awaitable[None]] = _ignore
        #: reads a large line; the lines that follow it wait
        self._reading_large: asyncio.Task[None] | None = None
        self._waiting: deque[Line] = deque()
        #: whether no further line comes; ``_waiting`` may still have some
        self._is_at_end = False
        #: the reasons not to read from the client
        self._holds = Holds(self._on_hold)
        self._reader: asyncio.ReadTransport | None = None
        self._writer: LineWriter | None = None

    async def open(self, receiver: LineReceiver) -> None:
        """Start reading; ``receiver`` gets each line."""
        self.begin(receiver)
        loop = asyncio.get_running_loop()
        if files.is_pipe(self._sink):
            sink = os.fdopen(self._sink, "wb", 0)
            enlarge_pipe(sink)
            transport, _ = await loop.connect_write_pipe(lambda: _Sink(self), sink)
            self._writer = LineWriter(transport)
        if self._early is not None:
            self._take_over_from(self._early)
        if files.is_pipe(self._source):
            reader, _ = await loop.connect_read_pipe(lambda: _Source(self), os.fdopen(self._source, "rb", 0))
            self._reader = reader
        else:
            threading.Thread(target=self._read_blocking, args=(loop,), name="stdin", daemon=True).start()

    def begin(self, receiver: LineReceiver) -> None:
        """Pass on what ``feed`` gets from now on."""
        self._receive, self._receive_large = receiver.receive, receiver.receive_large
        self._splitter = LineSplitter(MAX_MESSAGE, receiver.receive_oversized)

    async def wait_input_closed(self) -> None:
        """Wait until the client sends nothing more, or ``end``."""
        await self._input_closed.wait()

    async def wait_output_closed(self) -> None:
        """Wait until no answer can reach the client any more, or ``end``."""
        await self._output_closed.wait()

    def send(self, line: bytes) -> None:
        """Write one line to the client, unless the client is gone."""
        if self._drops_answers:
            return
        if self._writer is not None:
            self._writer.write(line)
            return
        try:
            _write_blocking(self._sink, line)
        except OSError:
            self.end()

    def feed(self, data: bytes) -> None:
        """Take bytes from the client."""
        for line in self._splitter.feed(data):
            if self._reading_large is None and not isinstance(line, Large):
                self._receive(line)
                continue
            self._waiting.append(line)
            if self._reading_large is None:
                self._reading_large = asyncio.get_running_loop().create_task(self._read_waiting())
                self._holds.set("large", True)

    async def _read_waiting(self) -> None:
        """Take a large line, which takes several turns of the loop, and the lines after it."""
        while self._waiting:
            line = self._waiting.popleft()
            if isinstance(line, Large):
                await self._receive_large(line)
            else:
                self._receive(line)
        self._reading_large = None
        self._holds.set("large", False)
        if self._is_at_end:
            self._input_closed.set()

    def _take_over_from(self, early: EarlyResponder) -> None:
        """Take the lines that the early responder read, without a second answer to those that it answered."""
        self._drops_answers = True
        for line in early.answered:
            self._receive(line)
        self._drops_answers = False
        self.feed(early.rest)

    def feed_eof(self) -> None:
        """Take the end of the client's stream; a last line without a line end still counts."""
        self.feed(b"\n")
        self.input_closed()

    def input_closed(self) -> None:
        """Note that the client sends nothing more. It may still read its last answers."""
        self._is_at_end = True
        if self._reading_large is None:
            self._input_closed.set()

    def output_closed(self) -> None:
        """Note that the stream to the client is closed, with or without its last lines."""
        self._flushed.set()
        self.end()

    def end(self) -> None:
        """Treat both streams as closed: the client reads nothing more, or the proxy has to end at once."""
        self._output_closed.set()
        self._input_closed.set()

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the client and from the upstreams, because the client does not read; with False, read again."""
        self._on_pause(paused)
        self._holds.set("answers", paused)

    def _on_hold(self, is_held: bool) -> None:
        if self._reader is None or self._reader.is_closing():
            return
        if is_held:
            self._reader.pause_reading()
        else:
            self._reader.resume_reading()

    async def close(self) -> None:
        """Close both streams, after the client has read its last answers or ``FLUSH_GRACE`` is over."""
        if self._reading_large is not None:
            self._reading_large.cancel()
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.flush()
            self._writer.transport.close()
            with anyio.move_on_after(FLUSH_GRACE, shield=True):
                await self._flushed.wait()

    def _read_blocking(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read a stream that the loop cannot poll, such as a file, a terminal or /dev/null. Runs in a thread."""
        # The loop may be closed, and the proxy at its end.
        with contextlib.suppress(RuntimeError):
            while data := _read_blocking(self._source):
                loop.call_soon_threadsafe(self.feed, data)
            loop.call_soon_threadsafe(self.feed_eof)


class _Source(asyncio.Protocol):
    def __init__(self, link: ClientLink) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.feed(data)

    def eof_received(self) -> None:
        self._link.feed_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.input_closed()


class _Sink(asyncio.BaseProtocol):
    def __init__(self, link: ClientLink) -> None:
        self._link = link

    def pause_writing(self) -> None:
        self._link.set_paused(True)

    def resume_writing(self) -> None:
        self._link.set_paused(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.output_closed()


async def _ignore(line: Large) -> None:
    """Take a line before the link is open, which never happens."""


def _read_blocking(descriptor: int) -> bytes:
    """The next bytes of a stream; b"" at its end. A terminal that hangs up ends with an error (EIO)."""
    try:
        while True:
            try:
                return os.read(descriptor, 1 << 16)
            except BlockingIOError:
                _wait_for(descriptor, select.POLLIN)
    except OSError:
        return b""


def _write_blocking(descriptor: int, line: bytes) -> None:
    """Write a whole line. Raises OSError if the stream is closed."""
    view = memoryview(line)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            _wait_for(descriptor, select.POLLOUT)


def _wait_for(descriptor: int, event: int) -> None:
    """Wait for room or for data in a stream that another program has made non-blocking (O_NONBLOCK belongs to all that share it)."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()
