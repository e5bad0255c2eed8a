"""An upstream behind a URL: Streamable HTTP, of the handshake revisions and of 2026-07-28.

Every message of ours is a POST of its own; all of them run at once. The answer to a request is taken from the reply to its POST and from
nowhere else: as JSON, or as the one event of a stream that carries its id, whatever comes before it and whether or not the stream ends
after it. Whatever goes wrong with a reply is the error of that request alone.

Handshake revisions have more: a session, which begins again when the server has forgotten it (404); a stream of the server's own (GET);
and streams that resume after they broke. A modern server has none of that, and learns of a cancellation by the end of the reply's
connection (MCP 2025-11-25 and 2026-07-28, transports).
"""

from __future__ import annotations

import asyncio

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.errors import HttpStatus, UpstreamError, UpstreamFailed, UpstreamGone, UpstreamTimeout
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE, Malformed, Message, Outgoing
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.http.answer_stream import AnswerStream, listen
from dynamic_mcp.upstream.http.client import HttpClient, HttpReply
from dynamic_mcp.upstream.http.connection import HttpUpstream
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds that the server may take to answer the end of the session.
END_SESSION_TIMEOUT = 2.0

_INITIALIZED = Outgoing(jsonrpc.notification(handshake.INITIALIZED), handshake.INITIALIZED)


class SessionGone(HttpStatus):
    """The server does not know the session of the request any more."""


class NoAnswer(UpstreamFailed):
    """The server accepted a request and did not answer it."""


class StreamableHttpUpstream(HttpUpstream):
    """A server behind a URL. Nothing happens before ``open``.

    A server that cannot be reached fails its calls; the upstream is lost when no new session can begin.
    """

    def __init__(self, client: HttpClient, events: Events, *, max_size: int = MAX_MESSAGE) -> None:
        super().__init__(client, events, self._on_cancelled, max_size=max_size)
        self._session = HttpSession()
        self._posts: dict[int, asyncio.Task[None]] = {}
        self._timeout = 10.0
        self._renewal: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """See ``Upstream``."""
        self._timeout = timeout
        await self._client.start()
        if skip_probe or not await self._is_modern():
            try:
                await self._begin_session()
                self._listen_anew()
            except handshake.SpeaksModern:
                if not await self._is_modern():
                    raise
        self._is_open = True

    async def _is_modern(self) -> bool:
        self._session.version = era.MODERN
        agreed = await self._probe()
        self.modern = agreed is not None
        if agreed is not None:
            self.agreed = agreed
        return self.modern

    async def _probe(self) -> Handshake | None:
        try:
            return await handshake.probe(self._peer)
        except HttpStatus as error:
            # Neither says anything about the era of the server.
            if error.status in (401, 403) or error.status >= 500:
                raise
            return None
        except NoAnswer:
            return None

    async def _begin_session(self) -> None:
        """Do the handshake. Raises UpstreamError."""
        self._session.id = self._session.version = None
        self.agreed = await handshake.initialize(self._peer, self._timeout, self._events.capabilities())
        self._session.version = self.agreed.version
        # Only then other requests: the server may insist (MCP 2025-11-25, lifecycle, "Initialization").
        try:
            async with asyncio.timeout(self._timeout):
                await self._post_notification(_INITIALIZED)
        except TimeoutError:
            raise UpstreamTimeout(
                f"it did not confirm {handshake.INITIALIZED} within {self._timeout:g} s"
            ) from None

    # Messages to the server

    def _send(self, message: Outgoing) -> None:
        id = message.id
        if id is None:
            self._in_background(lambda: self._post_notification(message))
            return
        task = self._in_background(lambda: self._post_request(id, message))
        self._posts[id] = task
        task.add_done_callback(lambda _: self._posts.pop(id, None))

    def _on_cancelled(self, id: int) -> bool:
        """Stop waiting for an answer. For a modern server the end of the connection is the cancellation."""
        if (task := self._posts.get(id)) is not None:
            task.cancel()
        return self.modern

    async def _post_request(self, id: int, message: Outgoing) -> None:
        try:
            if self._renewal is not None and message.method != "initialize":
                await asyncio.shield(self._renewal)
            session = self._session.id
            try:
                await self._exchange(id, message)
            except SessionGone:
                await self._renew(session)
                await self._exchange(id, message)
        except UpstreamFailed as error:
            self._peer.fail(id, error)

    async def _exchange(self, id: int, message: Outgoing) -> None:
        """Send one POST and deliver its answer. Raises UpstreamFailed."""
        headers, session = self._session.message_headers(message), self._session.id
        async with self._client.request(
            "POST", headers, message.line.rstrip(), may_sign_in=self._is_open
        ) as reply:
            if message.method == "initialize" and reply.status < 400:
                self._session.id = reply.header("Mcp-Session-Id")
            if reply.content_type != "text/event-stream" or reply.status != 200:
                await self._take_whole(id, reply, session)
                return
            stream = self._stream(id)
            if await stream.read(reply):
                return
        if self.modern:
            raise UpstreamGone("the connection was lost before the answer came")
        await stream.fetch_again(self._client, self._session)

    async def _take_whole(self, id: int, reply: HttpReply, session: str | None) -> None:
        """Take the answer as JSON. The reply of an error status may hold a JSON-RPC error, which then is the answer.

        ``session`` is the one that the request was sent in; by now there may be another.
        """
        if reply.status == 404 and session is not None:
            raise SessionGone("it has forgotten the session (HTTP 404)", status=404)
        body = await reply.body(self._max_size) if reply.content_type == "application/json" else b""
        if reply.status == 400 and session is not None and b"session" in body.lower():
            # What several servers answer in place of 404.
            raise SessionGone("it does not know the session (HTTP 400)", status=400)
        for element in _elements(body):
            if self._deliver(id, element, any_id=reply.status >= 400):
                return
        if reply.status >= 300:
            raise HttpStatus(_status_text(reply.status), status=reply.status)
        if not body:
            what = reply.content_type or "nothing"
            raise NoAnswer(f"its answer is {what[:40]!r}, neither JSON nor an event stream")
        raise NoAnswer("its answer is not the JSON-RPC answer to the request")

    def _stream(self, id: int | None, last_id: str = "") -> AnswerStream:
        return AnswerStream(
            id,
            lambda data: self._deliver(id, data),
            self._peer.receive_oversized,
            self._resume,
            max_size=self._max_size,
            last_id=last_id,
        )

    def _deliver(self, id: int | None, data: bytes, *, any_id: bool = False) -> bool:
        """Take one message of a reply; true when it was the answer to the request with this id."""
        own = b"" if id is None else b"%d" % id
        try:
            message = jsonrpc.parse(data)
        except Malformed as problem:
            if problem.answer and problem.id == own:
                self._peer.malformed(problem)
                return True
            log.debug("an invalid message was dropped: %s", problem.what)
            return False
        if message.method is not None:
            self._peer.received(message)
            return False
        if any_id and message.error:
            # A server that refuses the whole request may not have read its id.
            message = Message(jsonrpc="2.0", id=Raw(own), error=message.error)
        if bytes(message.id) != own:
            return False
        self._peer.answered(message)
        return True

    async def _post_notification(self, message: Outgoing) -> None:
        """Post a message that has no answer of its own. Raises UpstreamFailed when it is not accepted."""
        status = await self._client.post(self._session.message_headers(message), message.line.rstrip())
        if status >= 300:
            raise HttpStatus(_status_text(status), status=status)

    # Sessions of the handshake revisions

    async def _renew(self, dead: str | None) -> None:
        """Begin a new session, once for all requests that met the dead one. Raises UpstreamGone."""
        if self._renewal is None and self._session.id == dead:
            # A task of its own: a request that stops waiting does not end it for the others.
            self._renewal = self._in_background(self._begin_again)
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        if self._end.done():
            raise self._end.result().copy()

    async def _begin_again(self) -> None:
        log.info("the server has forgotten the session; a new one begins")
        try:
            await self._begin_session()
        except UpstreamError as error:
            self._lose(UpstreamGone(f"no new session could be begun: {error}"))
            return
        finally:
            self._renewal = None
        self._listen_anew()
        for method in ("tools", "resources", "prompts"):
            # A server that has forgotten the session may have changed in other ways too.
            self._events.on_notification(
                Message(jsonrpc="2.0", method=f"notifications/{method}/list_changed")
            )

    def _listen_anew(self) -> None:
        """Listen to the server's own stream: the stream and the ids of its events belong to the session."""
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self._in_background(
            lambda: listen(self._client, self._session, lambda last_id: self._stream(None, last_id))
        )

    async def _end_session(self) -> None:
        """End the session. A server that cannot do that, or does not answer, changes nothing."""
        if self._session.id is None:
            return
        with anyio.move_on_after(END_SESSION_TIMEOUT):
            try:
                async with self._client.request("DELETE", self._session.headers()):
                    pass
            except UpstreamFailed as error:
                log.debug("the end of the session was not acknowledged: %s", error)


def _elements(body: bytes) -> list[bytes]:
    """The messages of a body: one, or with 2025-03-26 an array of them."""
    if body.lstrip()[:1] != b"[":
        return [body] if body.strip() else []
    try:
        return [bytes(element) for element in msgspec.json.decode(body, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        return [body]


def _status_text(status: int) -> str:
    if status in (401, 403):
        return f"it asks for an authorization that it did not get (HTTP {status})"
    if 300 <= status < 400:
        return f"it redirects to another address (HTTP {status}), which is not followed; configure that one"
    return f"it answered with HTTP {status}"
