"""What both transports over HTTP are made of: a peer whose lines are posted, work in the background, one end.

``StreamableHttpUpstream`` and ``SseUpstream`` say how a line travels and where answers come from.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from dynamic_mcp.errors import SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake, Options
from dynamic_mcp.upstream.http.client import HttpClient


class HttpUpstream(ABC):
    """The part of an ``Upstream`` behind a URL that does not depend on its transport."""

    def __init__(
        self,
        web: HttpClient,
        events: Events,
        on_cancelled: Callable[[int], bool] | None = None,
        *,
        most: int = MAX_MESSAGE,
    ) -> None:
        """``most``: bytes of the longest message that is taken."""
        self.modern = False
        self.agreed = Handshake()
        self._web = web
        self._events = events
        self._most = most
        self._peer = Peer(self._send, events.on_notification, events.on_request, on_cancelled, most=most)
        #: from then on a sign-in is waited for here; before that it is for the group, outside its time limit
        self._opened = False
        self._tasks: set[asyncio.Task[None]] = set()
        #: set while the client reads; what comes from the server waits for it
        self._resume = asyncio.Event()
        self._resume.set()
        self._end: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """See ``Upstream``."""
        if self.modern:
            params = handshake.stamped(params, options.capabilities, options.log_level)
        return await self._peer.request(method, params, options.timeout, options.on_progress, options.on_id)

    def notify(self, method: str, params: bytes = b"") -> None:
        """See ``Upstream``."""
        self._peer.notify(method, params)

    async def lost(self) -> UpstreamGone:
        """See ``Upstream``."""
        return await asyncio.shield(self._end)

    def stderr_tail(self) -> str:
        """See ``Upstream``: such a server has no stderr."""
        return ""

    def pause(self, paused: bool) -> None:
        """See ``Upstream``: the reading stops, and the windows of the connections fill."""
        if paused:
            self._resume.clear()
        else:
            self._resume.set()

    async def close(self) -> None:
        """See ``Upstream``."""
        gone = UpstreamGone("the connection was closed")
        with anyio.CancelScope(shield=True):
            self._peer.close(gone)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._end_session()
            await self._web.close()
            self._lose(gone)

    @abstractmethod
    def _send(self, line: bytes) -> None:
        """Have one line of the peer posted."""

    @abstractmethod
    async def _end_session(self) -> None:
        """What there is to do before the connections are closed. Bounded, raises nothing."""

    def _lose(self, reason: UpstreamFailed) -> None:
        """The connection is of no use any more."""
        self._peer.close(reason)
        if not self._end.done():
            self._end.set_result(UpstreamGone(str(reason)))

    async def _signed_in(self, exchange: Callable[[], Awaitable[None]]) -> None:
        """Do an exchange, once more after a sign-in where the server wants one. Raises UpstreamFailed."""
        try:
            await exchange()
        except SignInNeeded as need:
            if not self._opened:
                raise
            await self._web.sign_in(need)
            await exchange()

    def _in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Begin work that ends with the connection at the latest."""

        async def quietly() -> None:
            try:
                await work()
            except UpstreamFailed as error:
                log.debug("a message was not accepted: %s", error)

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
