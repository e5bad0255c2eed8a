"""An upstream that is a child process; its messages are lines on its standard streams.

After ``close`` returned, no process of the child's group is alive (``process.child`` has the exceptions). Only the id matches an answer
with its request. The proxy drops everything else that the child prints to stdout. The child's stderr does not go to the stderr of the proxy
(dynamic-mcp SECURITY.md 1.3.0: "Stderr redirected to null"). A caller sees its end while a start is slow, and after the child failed, hung
or ended.

Memory is bounded. A child that does not read gets no further request once ``MAX_UNREAD`` bytes wait for it. The proxy does not read from it
while too many answers wait (``flow``). A message beyond the configured size fails its request, and an endless one ends the child.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from msgspec import Raw

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.process.child import Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.running_child import RunningChild

#: Bytes that may wait for a child that does not read its stdin. A single larger message still goes out.
MAX_UNREAD = 16 << 20


def plain_launch(transport: StdioTransport) -> Launch:
    """The configured command, with the environment of the proxy and the configured variables."""
    own = {name: value.reveal() for name, value in transport.env}
    return Launch((transport.command, *transport.args), {**os.environ, **own}, transport.cwd)


class StdioUpstream:
    """A server in a child process. Nothing happens before ``open``."""

    def __init__(
        self,
        transport: StdioTransport,
        events: Events,
        guard: Guard,
        launch: Callable[[StdioTransport], Launch] = plain_launch,
    ) -> None:
        self.modern = False
        self.delivers_notifications = True
        self.agreed = Handshake()
        self._transport = transport
        self._events = events
        self._guard = guard
        self._launch = launch
        self._running: RunningChild | None = None

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """Start the child and do the handshake. ``close`` has to follow, even after a failure. Raises UpstreamError.

        A child that exits or hangs after the probe starts again without one: some servers do that if the first request is not
        ``initialize``. A child that exits after it refused the newest version starts again with an older one.
        """
        running = await self._start()
        try:
            if skip_probe:
                self.agreed = await self._initialize(running.peer, timeout)
            else:
                try:
                    self.agreed = await self._probe(running, timeout)
                except UpstreamGone:
                    running = await self._start_again(running)
                    self.agreed = await self._initialize(running.peer, timeout)
        except handshake.OlderNotTaken as refusal:
            if not refusal.has_ended:
                raise
            running = await self._start_again(running)
            try:
                self.agreed = await self._initialize(running.peer, timeout, refusal.version)
            except UpstreamGone:
                raise refusal from None
        running.watch.opened(self.modern)

    async def _probe(self, running: RunningChild, timeout: float) -> Handshake:
        """The handshake after a probe. Raises UpstreamGone also for a child that hangs since the probe."""
        agreed = await handshake.probe(running.peer, self._events.client_info())
        self.modern = agreed is not None
        if agreed is not None:
            return agreed
        watch = asyncio.get_running_loop().create_task(running.fail_if_stuck(reads=running.has_read_all))
        try:
            return await self._initialize(running.peer, timeout)
        finally:
            watch.cancel()

    async def _initialize(self, peer: Peer, timeout: float, only: str = "") -> Handshake:
        """The legacy handshake, or that of a modern upstream that refuses it. ``only`` is the one version to offer."""
        try:
            agreed = await handshake.initialize(
                peer, timeout, self._events.capabilities(), self._events.client_info(), only
            )
        except handshake.SpeaksModern:
            # It is known to be modern, so it may take as long as for any other answer of the handshake.
            found = await handshake.probe(peer, self._events.client_info(), timeout)
            if found is None:
                raise
            self.modern = True
            return found
        self.modern = False
        peer.notify(handshake.INITIALIZED)
        return agreed

    def request(self, method: str, params: bytes, options: Options) -> Coroutine[Any, Any, bytes]:
        # The coroutine of the peer, because one more around it would cost every call.
        running = self._connected()
        if running.watch.is_deaf:
            raise UpstreamGone("the server process closed its input")
        if running.unread > MAX_UNREAD:
            running.peer.unanswered()
            raise UpstreamFailed(
                f"the server does not read its input; {format_size(MAX_UNREAD)} are waiting for it"
            )
        if self.modern:
            params = handshake.with_client_meta(params, options, self._events)
        return running.peer.request(method, params, options)

    def learn_tool(self, name: str, definition: Raw) -> str:
        return ""

    def notify(self, method: str, params: bytes = b"") -> None:
        if self._running is not None:
            self._running.peer.notify(method, params)

    @property
    def process_group(self) -> int | None:
        """The process group of the child; None before its start."""
        return None if self._running is None else self._running.process_group

    @property
    def is_gone(self) -> bool:
        """Whether the connection is gone."""
        return self._running is not None and self._running.lost.is_set()

    async def wait_lost(self) -> UpstreamGone:
        running = self._connected()
        await running.lost.wait()
        return running.loss

    def stderr_tail(self) -> str:
        return self._running.stderr_tail() if self._running is not None else ""

    def set_paused(self, paused: bool) -> None:
        if self._running is not None:
            self._running.flow.holds.set("client", paused)

    async def close(self) -> None:
        """Close stdin, then end and reap the whole group."""
        if self._running is not None:
            await self._running.close()

    async def _start(self) -> RunningChild:
        # A start blocks the loop until the child's exec (``guard``), and several in a row would delay calls to other servers. So
        # there is one fork at a time, and the next one waits as long as this one took.
        async with self._guard.start_lock:
            began = time.monotonic()
            self._running = running = RunningChild(
                self._transport, self._launch(self._transport), self._events, self._guard
            )
            await anyio.sleep(time.monotonic() - began)
        await running.attach()
        return running

    async def _start_again(self, ended: RunningChild) -> RunningChild:
        await ended.close()
        return await self._start()

    def _connected(self) -> RunningChild:
        if self._running is None:
            raise UpstreamGone("the server was not started")
        return self._running
