"""An upstream of the HTTP+SSE transport (MCP 2024-11-05, basic/transports): one stream from the server, and an address for POSTs.

The stream opens first. Its ``endpoint`` event names the address, which must have the same origin, because every message and every
configured header goes there. Answers come on the stream, matched by id; only the status of the reply to a POST counts. When the
stream ends, the upstream is lost, because the server keeps its state with the stream.

A gateway may keep the stream open although the server has forgotten it. If a reply to a POST says so, and the reply to a ping too, a new
stream takes the place of the old one.
"""

from __future__ import annotations

import asyncio

from dynamic_mcp.errors import (
    HttpStatus,
    StreamEnded,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
    UpstreamTimeout,
)
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import Outgoing, format_size
from dynamic_mcp.protocol.lines import ENDLESS_FACTOR, MAX_MESSAGE
from dynamic_mcp.protocol.oversized import OversizedMessages
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.protocol.pieces import first_bytes, size_of
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, not_started_within
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.client import ACCEPT_TIMEOUT, HttpClient
from dynamic_mcp.upstream.http.connection import HttpUpstream, is_about_token, no_new_session
from dynamic_mcp.upstream.http.event_stream import EventParser
from dynamic_mcp.upstream.http.redirects import within_origin
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import ANSWER_FORGOTTEN

#: Seconds from the beginning of the stream to its ``endpoint`` event, which servers send first.
ENDPOINT_TIMEOUT = 10.0
#: Seconds that the server has to answer the ping which shows whether it has forgotten the stream.
PING_TIMEOUT = 5.0


class _Stream:
    """One event stream, which is a session of the server."""

    def __init__(self) -> None:
        #: the address for POSTs
        self.endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        #: the task that reads it; None before it opens
        self.reader: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Read it no longer."""
        if self.reader is not None:
            self.reader.cancel()


class SseUpstream(HttpUpstream):
    """A server of the HTTP+SSE transport, which exists only in the legacy era."""

    def __init__(self, client: HttpClient, events: Events, *, max_size: int = MAX_MESSAGE) -> None:
        super().__init__(client, events, max_size=max_size)
        self._stream = _Stream()
        #: the stream of a handshake that goes on
        self._beginning = self._stream
        self._timeout = 10.0
        self._renewal: asyncio.Task[None] | None = None
        #: for each request in flight the stream on which its answer comes; None while its POST has no reply
        self._taken: dict[int, _Stream | None] = {}

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        self._timeout = timeout
        await self._client.start()
        await self._begin_session(self._stream)
        self._is_open = True

    async def _begin_session(self, stream: _Stream) -> None:
        """Open the stream and do the handshake. Raises UpstreamError."""
        self._beginning = stream
        stream.reader = self._in_background(lambda: self._read_stream(stream))
        await stream.endpoint
        self.agreed = await handshake.initialize(
            self._peer, self._timeout, self._events.capabilities(), self._events.client_info()
        )
        await self._post(stream, jsonrpc.notification(handshake.INITIALIZED))

    async def _end_session(self) -> None:
        self._stream.endpoint.cancel()

    # The stream

    async def _read_stream(self, stream: _Stream) -> None:
        try:
            async with self._client.request("GET", {"Accept": "text/event-stream"}) as reply:
                if reply.status != 200 or reply.content_type != "text/event-stream":
                    what = (
                        None
                        if reply.status in (301, 302, 303, 307, 308)
                        else f"it does not open an event stream (HTTP {reply.status})"
                    )
                    raise await self._client.refusal(reply, what)
                timer = asyncio.get_running_loop().call_later(ENDPOINT_TIMEOUT, _give_up_endpoint, stream)
                try:
                    await self._read(stream, reply)
                finally:
                    timer.cancel()
            raise StreamEnded("the server ended its event stream")
        except UpstreamFailed as error:
            if stream is self._stream:
                self._lose(error)
            else:
                self._fail_on(stream, error)
            if not stream.endpoint.done():
                stream.endpoint.set_exception(error)

    async def _read(self, stream: _Stream, reply: HttpReply) -> None:
        # A new stream can open before the old one has ended, and each one can have an oversized message.
        oversized = OversizedMessages(self._peer.take_oversized)
        parser = EventParser(self._max_size, oversized.take)
        async for piece in self._flow.pieces(reply.chunks()):
            events = parser.feed(piece)
            for event in events:
                if event.type == "endpoint":
                    self._take_endpoint(stream, first_bytes(event.data).decode(errors="replace").strip())
                elif event.type == "message" and event.data:
                    await self._peer.receive_slowly(event.data)
                else:
                    self._peer.count_junk(size_of(event.data))
            if not events and parser.is_idle:
                self._flow.count_blank(piece)
            if parser.is_endless:
                raise UpstreamGone(
                    f"it sends an endless event, of more than {format_size(ENDLESS_FACTOR * self._max_size)}"
                )

    def _take_endpoint(self, stream: _Stream, endpoint: str) -> None:
        if stream.endpoint.done():
            log.debug("ignored a second endpoint event")
            return
        try:
            address = within_origin(self._client.url, endpoint)
        except ValueError:
            raise UpstreamFailed("its endpoint is not an address") from None
        if address is None:
            raise UpstreamFailed("its endpoint has another origin, so nothing is sent there")
        stream.endpoint.set_result(address)

    # A new stream in place of one that the server has forgotten

    async def _renew(self, old: _Stream, *, is_certain: bool) -> None:
        """Replace a stream if the server has forgotten it, once for all requests. Raises UpstreamGone.

        If that is not certain, the refusal of the token leaves the old stream.
        """
        if self._renewal is None and self._stream is old:
            # A separate task, because the cancellation of one request must not end it for the others.
            self._renewal = self._in_background(lambda: self._replace_if_forgotten(is_certain))
        await self._renewed()
        if self._end.done():
            raise self._end.result().copy()

    async def _replace_if_forgotten(self, is_certain: bool) -> None:
        new = _Stream()
        try:
            if not await self._is_forgotten():
                return
            log.info("the server has forgotten the session; beginning a new one")
            await self._begin_session_in_time(new)
        except UpstreamError as error:
            new.end()
            if not is_certain and is_about_token(error):
                log.info("no new session began yet: %s", error)
            else:
                self._lose(no_new_session(error))
            return
        finally:
            self._renewal = None
        self._replace_stream(new)
        self._events.on_new_session()

    async def _begin_session_in_time(self, stream: _Stream) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._begin_session(stream)
        except TimeoutError:
            raise UpstreamTimeout(not_started_within(self._timeout)) from None

    async def _is_forgotten(self) -> bool:
        """Whether the server refuses a ping too. A new session costs the other calls, and only one request may be wrong."""
        try:
            await self._peer.request("ping", b"", Options(PING_TIMEOUT))
        except HttpStatus as refusal:
            return refusal.is_session_lost
        except UpstreamError:
            pass
        return False

    def _replace_stream(self, new: _Stream) -> None:
        """Stop reading the old stream, and fail the requests whose answers would come on it."""
        self._leave_session()
        old, self._stream = self._stream, new
        old.end()
        self._fail_on(old, UpstreamGone(ANSWER_FORGOTTEN))

    def _fail_on(self, ended: _Stream, reason: UpstreamFailed) -> None:
        for id, stream in list(self._taken.items()):
            if stream is ended:
                self._peer.fail(id, reason)

    # Messages to the server

    def _send(self, message: Outgoing) -> None:
        id = message.id
        if id is None:
            self._outbox.add(message)
            return
        self._taken[id] = None
        post = self._in_background(lambda: self._post_request(id, message))
        self._peer.when_over(id, lambda: self._request_over(id, post))

    def _request_over(self, id: int, post: asyncio.Task[None]) -> None:
        """Let the POST of a request that is over have its answer, for ``ACCEPT_TIMEOUT`` at most."""
        self._taken.pop(id, None)
        if not post.done():
            asyncio.get_running_loop().call_later(ACCEPT_TIMEOUT, post.cancel)

    async def _post_request(self, id: int, message: Outgoing) -> None:
        try:
            if message.method == "initialize":
                await self._post_on(self._beginning, id, message)
            elif message.method == "ping":
                await self._post_on(self._stream, id, message)
            else:
                await self._post_or_renew(id, message)
        except UpstreamFailed as error:
            self._peer.fail(id, error)

    async def _post_or_renew(self, id: int, message: Outgoing) -> None:
        """POST a request, and once more on a new stream if the server has forgotten this one. Raises UpstreamFailed."""
        await self._renewed()
        stream = self._stream
        try:
            await self._post_on(stream, id, message)
        except HttpStatus as refusal:
            if not refusal.is_session_lost:
                raise
            is_certain = refusal.status not in refusals.OF_TOKENS
            await self._renew(stream, is_certain=is_certain)
            is_new = self._stream is not stream
            # With a status from 500 on, the request may have run. In a session that goes on, only the token can be the reason.
            if refusal.status >= 500 or (is_certain and not is_new):
                raise
            await self._post_on(self._stream, id, message, may_miss_session=is_new)

    async def _post_on(
        self, stream: _Stream, id: int, message: Outgoing, *, may_miss_session: bool = True
    ) -> None:
        """POST a request whose answer comes on this stream, unless it is over. Raises UpstreamFailed.

        Some servers answer the POST only when the call is done, so it may take as long as the call.
        """
        if id not in self._taken:
            return
        await self._post(
            stream,
            message.line,
            may_sign_in=self._may_sign_in(message.method),
            may_last=True,
            may_miss_session=may_miss_session,
        )
        if stream not in (self._stream, self._beginning):
            raise UpstreamGone(ANSWER_FORGOTTEN)
        if id in self._taken:
            self._taken[id] = stream

    async def _post_unanswered(self, message: Outgoing) -> None:
        stream = self._stream
        await self._renewed()
        if message.method is None and stream is not self._stream:
            raise UpstreamGone("the server has forgotten the session in which it asked")
        await self._post(self._stream, message.line)

    async def _renewed(self) -> None:
        """Wait until no stream is being replaced."""
        if self._renewal is not None:
            await asyncio.shield(self._renewal)

    async def _post(
        self,
        stream: _Stream,
        line: bytes,
        *,
        may_sign_in: bool = False,
        may_last: bool = False,
        may_miss_session: bool = True,
    ) -> None:
        """POST one line. Raises UpstreamFailed if the server does not accept it."""
        headers, url = {"Content-Type": "application/json"}, stream.endpoint.result()
        await self._client.post(
            headers,
            line.rstrip(),
            url=url,
            may_sign_in=may_sign_in,
            may_last=may_last,
            may_miss_session=may_miss_session,
        )


def _give_up_endpoint(stream: _Stream) -> None:
    if not stream.endpoint.done():
        reason = f"its event stream announced no endpoint within {ENDPOINT_TIMEOUT:g} s"
        stream.endpoint.set_exception(UpstreamFailed(reason))
