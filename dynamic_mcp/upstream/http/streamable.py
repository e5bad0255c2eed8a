"""An upstream behind a URL: Streamable HTTP, of the handshake revisions and of 2026-07-28.

Every message of ours is a POST of its own; all of them run at once. The answer to a request is taken from the reply to its POST and from
nowhere else: as JSON, or as the one event of a stream that carries its id, whatever comes before it and whether or not the
stream ends after it. What goes wrong with a reply is that request's error and nobody else's.

Handshake revisions have more: a session, which is begun again when the server has forgotten it (404); a stream of the server's own
(GET); and streams that are taken up again after they broke (``Last-Event-ID``). A modern server gets none of that, and learns
of a cancellation by the end of the reply's connection (MCP 2025-11-25 and 2026-07-28, transports).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.errors import (
    HttpStatus,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
    UpstreamTimeout,
)
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE, Malformed, Message
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.http.client import HttpClient, HttpReply
from dynamic_mcp.upstream.http.connection import HttpUpstream
from dynamic_mcp.upstream.http.event_stream import EventParser, ServerSentEvent

#: Seconds before a broken stream is taken up again, when the server does not say; doubled each time it breaks at once.
RETRY = 1.0
MAX_RETRY = 30.0
#: The shortest pause before the own stream of a server is taken up again, whatever it says.
MIN_RETRY = 0.1
#: How often one answer is fetched again before it is given up.
RESUMPTIONS = 5
#: Seconds that the server may take to answer the end of the session.
GOODBYE = 2.0

#: The request of a stream that is nobody's answer.
_NOBODY = -1
_INITIALIZED = jsonrpc.notification(handshake.INITIALIZED)
_ACCEPT = "application/json, text/event-stream"
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
#: The member of params that the ``Mcp-Name`` header repeats.
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class _SessionGone(HttpStatus):
    """The server does not know the session of the request any more."""


class _NoAnswer(UpstreamFailed):
    """The server accepted a request and did not answer it."""


class StreamableHttpUpstream(HttpUpstream):
    """A server behind a URL. Nothing happens before ``open``.

    One that cannot be reached fails its calls; it is lost when no new session can be begun.
    """

    def __init__(self, web: HttpClient, events: Events, *, most: int = MAX_MESSAGE) -> None:
        super().__init__(web, events, self._on_cancelled, most=most)
        self._posts: dict[int, asyncio.Task[None]] = {}
        self._session: str | None = None
        self._version: str | None = None
        self._timeout = 10.0
        self._renewal: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """See ``Upstream``."""
        self._timeout = timeout
        await self._web.start()
        if skip_probe or not await self._is_modern():
            try:
                await self._begin_session()
                self._listen_anew()
            except handshake.SpeaksModern:
                if not await self._is_modern():
                    raise
        self._opened = True

    async def _is_modern(self) -> bool:
        self._version = era.MODERN
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
        except _NoAnswer:
            return None

    async def _begin_session(self) -> None:
        """The handshake. Raises UpstreamError."""
        self._session = self._version = None
        self.agreed = await handshake.initialize(self._peer, self._timeout, self._events.capabilities())
        self._version = self.agreed.version
        # Only then other requests: the server may insist (MCP lifecycle, "Initialization").
        try:
            async with asyncio.timeout(self._timeout):
                await self._post_notification(_INITIALIZED, jsonrpc.parse(_INITIALIZED))
        except TimeoutError:
            raise UpstreamTimeout(
                f"it did not confirm {handshake.INITIALIZED} within {self._timeout:g} s"
            ) from None

    # Messages to the server

    def _send(self, line: bytes) -> None:
        message = jsonrpc.parse(line)
        if message.method is None or not message.id:
            self._in_background(lambda: self._post_notification(line, message))
        else:
            id = int(bytes(message.id))
            task = self._in_background(lambda: self._post_request(id, line, message))
            self._posts[id] = task
            task.add_done_callback(lambda _: self._posts.pop(id, None))

    def _on_cancelled(self, id: int) -> bool:
        """Nobody waits any more. For a modern server the end of the connection is the cancellation."""
        if (task := self._posts.get(id)) is not None:
            task.cancel()
        return self.modern

    async def _post_request(self, id: int, line: bytes, message: Message) -> None:
        try:
            if self._renewal is not None and message.method != "initialize":
                await asyncio.shield(self._renewal)
            session = self._session
            try:
                await self._signed_in(lambda: self._exchange(id, line, message))
            except _SessionGone:
                await self._renew(session)
                await self._exchange(id, line, message)
        except UpstreamFailed as error:
            self._peer.fail(id, error)

    async def _exchange(self, id: int, line: bytes, message: Message) -> None:
        """One POST and its answer. Raises UpstreamFailed; returns when the answer was delivered."""
        headers, session = self._headers(message), self._session
        async with self._web.request("POST", headers, line.rstrip()) as reply:
            if message.method == "initialize" and reply.status < 400:
                self._session = reply.header("Mcp-Session-Id")
            if reply.content_type == "text/event-stream" and reply.status == 200:
                stream = _Stream(self, id)
                if await stream.read(reply):
                    return
            else:
                await self._take_whole(id, reply, session)
                return
        await self._take_up_again(stream)

    async def _take_whole(self, id: int, reply: HttpReply, session: str | None) -> None:
        """The answer as JSON; an error reply may hold a JSON-RPC error, which then is the answer.

        ``session`` is the one that the request was sent in; by now there may be another.
        """
        if reply.status == 404 and session is not None:
            raise _SessionGone("it has forgotten the session (HTTP 404)", status=404)
        body = await reply.body(self._most) if reply.content_type == "application/json" else b""
        if reply.status == 400 and session is not None and b"session" in body.lower():
            # What several servers answer in place of 404.
            raise _SessionGone("it does not know the session (HTTP 400)", status=400)
        for element in _elements(body):
            if self._deliver(id, element, whatever_id=reply.status >= 400):
                return
        if reply.status >= 300:
            raise HttpStatus(_status_text(reply.status), status=reply.status)
        if not body:
            what = reply.content_type or "nothing"
            raise _NoAnswer(f"its answer is {what[:40]!r}, neither JSON nor an event stream")
        raise _NoAnswer("its answer is not the JSON-RPC answer to the request")

    def _deliver(self, id: int, data: bytes, *, whatever_id: bool = False) -> bool:
        """Take one message of a reply; true when it was the answer to the request with this id."""
        try:
            message = jsonrpc.parse(data)
        except Malformed as problem:
            if problem.answer and problem.id == b"%d" % id:
                self._peer.malformed(problem)
                return True
            log.debug("a message that is none was dropped: %s", problem.what)
            return False
        if message.method is not None:
            self._peer.received(message)
            return False
        if whatever_id and message.error:
            # What refuses this very request need not have read its id.
            message = Message(jsonrpc="2.0", id=Raw(b"%d" % id), error=message.error)
        if bytes(message.id) != b"%d" % id:
            return False
        self._peer.answered(message)
        return True

    async def _post_notification(self, line: bytes, message: Message) -> None:
        """A message that has no answer of its own. Raises UpstreamFailed when it is not accepted."""
        status = await self._web.post(self._headers(message), line.rstrip())
        if status >= 300:
            raise HttpStatus(_status_text(status), status=status)

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **self._session_headers()}
        if self._version == era.MODERN and message.method is not None:
            headers["Mcp-Method"] = message.method
            name = _name_of(message)
            if name is not None:
                headers["Mcp-Name"] = name
        return headers

    def _session_headers(self) -> dict[str, str]:
        headers = {"Accept": _ACCEPT}
        if self._version is not None:
            headers["MCP-Protocol-Version"] = self._version
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        return headers

    def _stream_headers(self, last_id: str) -> dict[str, str]:
        """Those of a GET; ``last_id`` is the event after which the stream goes on, if there was one."""
        resumed = {"Last-Event-ID": last_id} if last_id else {}
        return {**self._session_headers(), "Accept": "text/event-stream", **resumed}

    # Sessions of the handshake revisions

    async def _renew(self, dead: str | None) -> None:
        """Begin a new session, once for all requests that met the dead one. Raises UpstreamGone."""
        if self._renewal is None and self._session == dead:
            # A task of its own: whoever stops waiting does not end it for the others.
            self._renewal = self._in_background(self._begin_again)
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        if self._end.done():
            raise self._end.result().again()

    async def _begin_again(self) -> None:
        log.info("the server has forgotten the session; a new one is begun")
        try:
            await self._begin_session()
        except UpstreamError as error:
            self._lose(UpstreamGone(f"no new session could be begun: {error}"))
            return
        finally:
            self._renewal = None
        self._listen_anew()
        for method in ("tools", "resources", "prompts"):
            # A server that has forgotten us may be another one by now.
            self._events.on_notification(
                Message(jsonrpc="2.0", method=f"notifications/{method}/list_changed")
            )

    async def _end_session(self) -> None:
        """End the session; a server that cannot do that, or does not answer, changes nothing."""
        if self._session is None:
            return
        with anyio.move_on_after(GOODBYE):
            try:
                async with self._web.request("DELETE", self._session_headers()):
                    pass
            except UpstreamFailed as error:
                log.debug("the end of the session was not acknowledged: %s", error)

    # Streams of the handshake revisions

    async def _take_up_again(self, stream: _Stream) -> None:
        """Fetch an answer whose stream ended before it. Raises UpstreamFailed when that cannot be."""
        for _ in range(RESUMPTIONS):
            if self.modern or not stream.parser.last_id:
                break
            await asyncio.sleep(RETRY if stream.parser.retry is None else stream.parser.retry)
            async with self._web.request("GET", self._stream_headers(stream.parser.last_id)) as reply:
                if reply.status != 200 or reply.content_type != "text/event-stream":
                    break
                if await stream.read(reply):
                    return
        raise UpstreamGone("the connection was lost before the answer came")

    def _listen_anew(self) -> None:
        """A stream belongs to its session, and so do the ids of its events."""
        if self._listening is not None:
            self._listening.cancel()
        self._listening = self._in_background(self._listen)

    async def _listen(self) -> None:
        """Hear what the server says by itself, as long as it lets us (MCP transports, "Listening for Messages")."""
        delay, last_id = RETRY, ""
        while True:
            stream = _Stream(self, _NOBODY, last_id)
            began = asyncio.get_running_loop().time()
            try:
                async with self._web.request("GET", self._stream_headers(last_id)) as reply:
                    if reply.content_type != "text/event-stream" or reply.status != 200:
                        if reply.status < 500 and reply.status != 404:
                            # 405: this server has nothing to say by itself.
                            return
                    else:
                        await stream.read(reply)
            except UpstreamGone as error:
                log.debug("the server's own stream broke: %s", error)
            last_id = stream.parser.last_id
            if asyncio.get_running_loop().time() - began > MAX_RETRY:
                delay = RETRY
            # A server that says when to come again ends its streams on purpose.
            asked = stream.parser.retry
            await asyncio.sleep(delay if asked is None else max(asked, MIN_RETRY))
            delay = min(delay * 2, MAX_RETRY)


class _Stream:
    """The events of the answer to one request, over as many connections as it takes."""

    def __init__(self, upstream: StreamableHttpUpstream, id: int, last_id: str = "") -> None:
        self._upstream = upstream
        self._id = id
        self._is_oversized = False
        self.parser = EventParser(upstream._most, self._on_oversized, last_id=last_id)

    async def read(self, reply: HttpReply) -> bool:
        """Read until the answer, or to the end; true when the answer came. A connection that breaks is an end."""
        before = self.parser
        self.parser = EventParser(
            self._upstream._most, self._on_oversized, last_id=before.last_id, retry=before.retry
        )
        try:
            async for event in self._events(reply):
                if event.data and self._upstream._deliver(self._id, event.data):
                    return True
        except UpstreamGone as error:
            log.debug("a stream broke: %s", error)
        return self._is_oversized

    async def _events(self, reply: HttpReply) -> AsyncIterator[ServerSentEvent]:
        async for chunk in reply.chunks():
            await self._upstream._resume.wait()
            for event in self.parser.feed(chunk):
                yield event
            if self._is_oversized:
                return
            if self.parser.is_endless:
                raise UpstreamFailed("it sends an event without end")

    def _on_oversized(self, edge: bytes, last: bool) -> None:
        """The answer of this stream is too large. What else is too large is of no concern to any request."""
        if jsonrpc.id_at(edge, last) == b"%d" % self._id:
            self._is_oversized = True
            self._upstream._peer.receive_oversized(edge, last)


def _elements(body: bytes) -> list[bytes]:
    """The messages of a body: one, or with 2025-03-26 an array of them."""
    if body.lstrip()[:1] != b"[":
        return [body] if body.strip() else []
    try:
        return [bytes(element) for element in msgspec.json.decode(body, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        return [body]


def _name_of(message: Message) -> str | None:
    """The value of the ``Mcp-Name`` header (MCP 2026-07-28, transports, "Value Encoding")."""
    key = _NAMED.get(message.method or "")
    if key is None:
        return None
    name = msgspec.json.decode(msgspec.json.decode(message.params, type=dict[str, Raw])[key], type=str)
    if _PLAIN.fullmatch(name) and not (name.startswith("=?base64?") and name.endswith("?=")):
        return name
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def _status_text(status: int) -> str:
    if status in (401, 403):
        return f"it asks for an authorization that it did not get (HTTP {status})"
    if 300 <= status < 400:
        return f"it redirects to another address (HTTP {status}), which is not followed; configure that one"
    return f"it answered with HTTP {status}"
