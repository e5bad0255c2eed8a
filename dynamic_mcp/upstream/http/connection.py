"""What both HTTP transports share: a peer, background tasks, and the end of the connection.

``StreamableHttpUpstream`` and ``SseUpstream`` define how a message travels and where its answer comes from.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from msgspec import Raw

from dynamic_mcp.errors import (
    HttpStatus,
    SignInMayHelp,
    SignInNeeded,
    StreamEnded,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
)
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.protocol.ids import ids_of_this_process
from dynamic_mcp.protocol.jsonrpc import Outgoing
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.flow import EventFlow
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.outbox import Outbox
from dynamic_mcp.upstream.vital_signs import ask_for_life

#: Requests that a client makes because it uses the server. A list, or the log level, is not worth a sign-in.
_USES = frozenset(
    {
        "tools/call",
        "resources/read",
        "resources/subscribe",
        "prompts/get",
        "completion/complete",
    }
)


def no_new_session(error: UpstreamError, setting: str = "") -> UpstreamGone:
    """The end of a connection whose server has lost the session. ``setting`` would give the new one more time."""
    gone = UpstreamGone(f"no new session could be begun: {error}{setting}")
    return gone.with_remedy(error.remedy) if isinstance(error, UpstreamFailed) else gone


def is_about_token(error: UpstreamError) -> bool:
    """Whether no new session could begin because of the token. A server that refuses it everywhere may still have the old session."""
    if isinstance(error, HttpStatus):
        return error.status in refusals.OF_TOKENS
    return isinstance(error, SignInMayHelp | SignInNeeded)


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
        """``max_size`` is the size of the largest message in bytes."""
        self.modern = False
        self.agreed = Handshake()
        self._client = client
        self._events = events
        self._max_size = max_size
        self._peer = Peer(
            self._send,
            events.on_notification,
            events.on_request,
            on_cancelled,
            max_size=max_size,
            on_junk=self._end_with,
            ask=self._ask,
            on_oddity=events.on_oddity,
            ids=ids_of_this_process(),
        )
        self._is_open = False
        self._tasks = TaskSet()
        self._flow = EventFlow(self._peer.count_junk)
        self._outbox = Outbox(self._post_unanswered, self._in_background, self._flow.holds, self._end_with)
        self._end: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()

    @property
    def delivers_notifications(self) -> bool:
        return True

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if self.modern:
            params = handshake.with_client_meta(params, options, self._events)
        return await self._peer.request(method, params, options)

    def learn_tool(self, name: str, definition: Raw) -> str:
        return ""

    def notify(self, method: str, params: bytes = b"") -> None:
        self._peer.notify(method, params)

    async def wait_lost(self) -> UpstreamGone:
        return await asyncio.shield(self._end)

    def stderr_tail(self) -> str:
        """A server behind a URL has no stderr."""
        return ""

    def set_paused(self, paused: bool) -> None:
        """Stop or resume reading. Meanwhile the buffers of the connections fill, and the server has to wait."""
        self._flow.holds.set("client", paused)

    async def close(self) -> None:
        gone = UpstreamGone("the connection was closed")
        with anyio.CancelScope(shield=True):
            self._peer.close(gone)
            self._outbox.close()
            await self._tasks.close()
            await self._end_session()
            await self._client.close()
            self._lose(gone)

    @abstractmethod
    def _send(self, message: Outgoing) -> None:
        """POST one message of the peer."""

    @abstractmethod
    async def _post_unanswered(self, message: Outgoing) -> None:
        """POST a message that has no answer. Raises UpstreamFailed if the server does not accept it."""

    @abstractmethod
    async def _end_session(self) -> None:
        """Prepare to close the connections. Bounded; raises nothing."""

    async def _ask(self, timeout: float) -> None:
        """Ask for a sign of life. Raises UpstreamError."""
        await ask_for_life(self._peer, self.modern, self._flow.holds, timeout)

    def _may_sign_in(self, method: str | None) -> bool:
        """Whether a request waits for a sign-in itself. Before the connection is open, the group signs in, outside of the time limit."""
        return self._is_open and method in _USES

    def _leave_session(self) -> None:
        """Cancel what the server asked in a session that it has lost, and send no answer to it."""
        self._peer.leave_session()
        self._outbox.leave_session()

    def _end_with(self, fault: str) -> None:
        """End the connection, because the server misbehaves."""
        self._lose(UpstreamGone(f"the server {fault}"))

    def _lose(self, reason: UpstreamFailed) -> None:
        """Mark the connection as gone."""
        self._peer.close(reason)
        if not self._end.done():
            self._end.set_result(
                reason
                if isinstance(reason, StreamEnded)
                else UpstreamGone(str(reason)).with_remedy(reason.remedy)
            )

    def _in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start a task that ends with the connection at the latest."""

        async def quietly() -> None:
            try:
                await work()
            except UpstreamFailed as error:
                log.debug("the server did not accept a message: %s", error)
            except Exception as error:
                # An unexpected error must not leave requests waiting.
                self._lose(UpstreamGone(report_bug("a connection over HTTP", error)))

        return self._tasks.start(quietly())
