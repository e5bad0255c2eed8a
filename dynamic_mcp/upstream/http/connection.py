"""What both HTTP transports share: a peer whose messages are posted, background work, and one end.

``StreamableHttpUpstream`` and ``SseUpstream`` say how a message travels and where its answer comes from.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE, Outgoing
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake, Options
from dynamic_mcp.upstream.http.client import HttpClient


class HttpUpstream(ABC):
    """The part of an ``Upstream`` behind a URL that does not depend on its transport."""

    def __init__(
        self,
        client: HttpClient,
        events: Events,
        on_cancelled: Callable[[int], bool] | None = None,
        *,
        max_size: int = MAX_MESSAGE,
    ) -> None:
        """``max_size``: bytes of the largest message that is accepted."""
        self.modern = False
        self.agreed = Handshake()
        self._client = client
        self._events = events
        self._max_size = max_size
        self._peer = Peer(
            self._send, events.on_notification, events.on_request, on_cancelled, max_size=max_size
        )
        #: from then on a request waits for a sign-in here; before that the group does, outside its time limit
        self._is_open = False
        self._tasks = TaskSet()
        #: set while the client reads; what comes from the server waits for it
        self._resume = asyncio.Event()
        self._resume.set()
        self._end: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """See ``Upstream``."""
        if self.modern:
            params = handshake.with_request_meta(params, options.capabilities, options.log_level)
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

    def set_paused(self, paused: bool) -> None:
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
            await self._tasks.close()
            await self._end_session()
            await self._client.close()
            self._lose(gone)

    @abstractmethod
    def _send(self, message: Outgoing) -> None:
        """Post one message of the peer."""

    @abstractmethod
    async def _end_session(self) -> None:
        """Do what comes before the connections are closed. Bounded, raises nothing."""

    def _lose(self, reason: UpstreamFailed) -> None:
        """The connection is of no use any more."""
        self._peer.close(reason)
        if not self._end.done():
            self._end.set_result(UpstreamGone(str(reason)))

    def _in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start work that ends with the connection at the latest."""

        async def quietly() -> None:
            try:
                await work()
            except UpstreamFailed as error:
                log.debug("a message was not accepted: %s", error)

        return self._tasks.start(quietly())
