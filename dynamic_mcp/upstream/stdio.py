"""An upstream that is a child process, spoken to by lines on its standard streams.

After ``close`` returned, nothing of the child's process group is alive. While the upstream is connected, answers are matched by id
only, and whatever else the child prints to stdout is dropped. Its stderr is shown to nobody but the caller of a request that the
child did not survive (SECURITY.md: "Stderr redirected to null").

Memory is bounded: a child that does not read gets no further request once ``MAX_UNREAD`` bytes wait for it, a message longer than
the configured bound is dropped and fails its request, one without an end ends the child, and a paused upstream is not read at all.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable

import anyio

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.pipes import LineWriter, enlarge
from dynamic_mcp.protocol.jsonrpc import ENDLESS, LineSplitter, Outgoing, readable
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake, Options, Upstream

#: Bytes that may wait for a child that does not read its stdin; a single larger message is still sent.
MAX_UNREAD = 16 << 20
#: Seconds that a child which closed its stdout may take to exit, so that the reason can say how it ended.
_EXIT_GRACE = 0.25


def plain_launch(transport: StdioTransport) -> Launch:
    """Start the command as it is configured, with the environment of the proxy and its own."""
    own = {name: value.reveal() for name, value in transport.env}
    return Launch((transport.command, *transport.args), {**os.environ, **own})


class StdioConnector:
    """See ``Connector``; nothing outlives a child."""

    def __init__(
        self, transport: StdioTransport, guard: Guard, launch: Callable[[StdioTransport], Launch]
    ) -> None:
        """``launch`` says how the child is started; it may raise UpstreamFailed."""
        self._transport = transport
        self._guard = guard
        self._launch = launch

    def connect(self, events: Events) -> Upstream:
        """See ``Connector``."""
        return StdioUpstream(self._transport, events, self._guard, self._launch)

    async def sign_in(self, need: SignInNeeded) -> None:
        """See ``Connector``: a child never needs a sign-in."""
        raise need

    async def close(self) -> None:
        """See ``Connector``."""


class StdioUpstream:
    """A server that is started as a child process. Nothing happens before ``open``."""

    def __init__(
        self,
        transport: StdioTransport,
        events: Events,
        guard: Guard,
        launch: Callable[[StdioTransport], Launch] = plain_launch,
    ) -> None:
        self.modern = False
        self.agreed = Handshake()
        self._transport = transport
        self._events = events
        self._guard = guard
        self._launch = launch
        self._running: _Running | None = None

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """Start the child and do the handshake; ``close`` has to follow, whatever comes of it. Raises UpstreamError.

        A child that ends while it is being probed is started again without the probe: servers built on older SDKs exit on
        anything that is not ``initialize``.
        """
        agreed = None
        peer = await self._start()
        if not skip_probe:
            try:
                agreed = await handshake.probe(peer)
                self.modern = agreed is not None
            except UpstreamGone:
                await self.close()
                peer = await self._start()
        if agreed is None:
            agreed = await self._initialize(peer, timeout)
        self.agreed = agreed

    async def _initialize(self, peer: Peer, timeout: float) -> Handshake:
        try:
            agreed = await handshake.initialize(peer, timeout, self._events.capabilities())
        except handshake.SpeaksModern:
            found = await handshake.probe(peer)
            if found is None:
                raise
            self.modern = True
            return found
        self.modern = False
        peer.notify(handshake.INITIALIZED)
        return agreed

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """See ``Upstream``."""
        running = self._connected()
        if running.unread > MAX_UNREAD:
            raise UpstreamFailed(
                f"the server does not read its input; {readable(MAX_UNREAD)} are waiting for it"
            )
        if self.modern:
            params = handshake.with_request_meta(params, options.capabilities, options.log_level)
        return await running.peer.request(method, params, options.timeout, options.on_progress, options.on_id)

    def notify(self, method: str, params: bytes = b"") -> None:
        """See ``Upstream``."""
        if self._running is not None:
            self._running.peer.notify(method, params)

    @property
    def is_gone(self) -> bool:
        """Whether ``lost`` would return at once."""
        return self._running is not None and self._running.ended.is_set()

    async def lost(self) -> UpstreamGone:
        """See ``Upstream``."""
        running = self._connected()
        await running.ended.wait()
        return running.end

    def stderr_tail(self) -> str:
        """See ``Upstream``: the last lines of the child's stderr."""
        return self._running.stderr_tail() if self._running is not None else ""

    def set_paused(self, paused: bool) -> None:
        """See ``Upstream``."""
        if self._running is not None:
            self._running.set_paused(paused)

    async def close(self) -> None:
        """See ``Upstream``: stdin is closed first, then the whole group is ended and reaped."""
        if self._running is not None:
            await self._running.close()

    async def _start(self) -> Peer:
        # One start at a time, each with as much time for everybody else after it: the loop waits until the child has its program
        # (``guard``), and several in a row would be noticed by whoever calls another server.
        async with self._guard.turn:
            began = time.monotonic()
            self._running = _Running(
                self._transport, self._launch(self._transport), self._events, self._guard
            )
            await anyio.sleep(time.monotonic() - began)
        await self._running.attach()
        return self._running.peer

    def _connected(self) -> _Running:
        if self._running is None:
            raise UpstreamGone("the server was not started")
        return self._running


class _Running(asyncio.Protocol):
    """One child, its two pipes, and the peer that speaks through them."""

    def __init__(self, transport: StdioTransport, launch: Launch, events: Events, guard: Guard) -> None:
        """Start the child. Raises UpstreamFailed with the operating system's reason."""
        self._max_size = transport.max_message_size
        self._explain = launch.explain
        self.peer = Peer(self._write, events.on_notification, events.on_request, max_size=self._max_size)
        self.ended = asyncio.Event()
        self.end = UpstreamGone("the connection was closed")
        self._splitter = LineSplitter(self._max_size, self.peer.receive_oversized)
        self._writer: LineWriter | None = None
        self._reader: asyncio.ReadTransport | None = None
        try:
            self._child = Child(launch, guard, (value.reveal() for _, value in transport.env))
        except OSError as error:
            reason = error.strerror or "operating system error"
            raise UpstreamFailed(
                f"{launch.program} {launch.argv[0]!r} could not be started: {reason}"
            ) from None
        except subprocess.SubprocessError:
            raise UpstreamFailed("its security.limits are refused by the operating system") from None
        except ValueError:
            raise UpstreamFailed("its command, args or env hold a NUL character or an invalid name") from None

    async def attach(self) -> None:
        """Take over the child's pipes."""
        loop = asyncio.get_running_loop()
        enlarge(self._child.stdin)
        enlarge(self._child.stdout)
        # A cancelled attachment leaves a pipe that its loop has closed and its file object believes open; it takes no time.
        with anyio.CancelScope(shield=True):
            writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._child.stdin)
            self._writer = LineWriter(writer)
            self._reader, _ = await loop.connect_read_pipe(lambda: self, self._child.stdout)

    @property
    def unread(self) -> int:
        """Bytes that wait for the child to read them."""
        return 0 if self._writer is None else self._writer.unread

    def stderr_tail(self) -> str:
        return self._child.stderr_tail.text() if self._child.stderr_tail is not None else ""

    def set_paused(self, paused: bool) -> None:
        if self._reader is not None and not self._reader.is_closing():
            if paused:
                self._reader.pause_reading()
            else:
                self._reader.resume_reading()

    async def close(self) -> None:
        """End the child; may be called again."""
        self.peer.close(self.end)
        try:
            if self._writer is not None:
                # abort, not close: bytes that the child does not read must not keep its stdin open. One that has closed itself,
                # because the child is gone, takes no abort in the loop of asyncio.
                if not self._writer.transport.is_closing():
                    self._writer.transport.abort()
            elif self._child.stdin is not None:
                self._child.stdin.close()
        finally:
            # Whatever became of the pipe, the child does not stay.
            await self._child.terminate()
        if self._reader is not None:
            self._reader.close()
        elif self._child.stdout is not None:
            self._child.stdout.close()

    def _write(self, message: Outgoing) -> None:
        if self._writer is not None:
            self._writer.write(message.line)

    # The child's stdout

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self.peer.receive(line)
        if self._splitter.is_endless and self._reader is not None:
            self._reader.close()

    def eof_received(self) -> None:
        if rest := self._splitter.rest():
            self.peer.receive(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        # Nothing can be answered any more. The task is kept, or it could be collected before it ran.
        self._exit_watch = asyncio.get_running_loop().create_task(self._tell_the_end())

    async def _tell_the_end(self) -> None:
        with anyio.move_on_after(_EXIT_GRACE):
            await self._child.wait_left()
        status = self._explain(self._child.status())
        how = f"ended ({status})" if self._child.has_left else "closed its output"
        if self._splitter.is_endless:
            how = f"writes a message without end, of more than {readable(ENDLESS * self._max_size)}"
        self.end = UpstreamGone(f"the server process {how}", self.stderr_tail())
        self.peer.close(self.end)
        self.ended.set()
