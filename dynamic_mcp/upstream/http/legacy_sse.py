"""An upstream of the HTTP+SSE transport (MCP 2024-11-05, basic/transports): one stream from the server, and an address for POSTs.

The stream opens first. Its ``endpoint`` event names the address, which must have the same origin, because every message and every
configured header goes there. Answers come on the stream, matched by id; only the status of the reply to a POST counts. When the
stream ends, the upstream is lost, because the server keeps its state with the stream.
"""

from __future__ import annotations

import asyncio

from dynamic_mcp.errors import StreamEnded, UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import ENDLESS_FACTOR, MAX_MESSAGE, Outgoing, format_size
from dynamic_mcp.protocol.pieces import first_bytes, size_of
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events
from dynamic_mcp.upstream.http.client import ACCEPT_TIMEOUT, HttpClient
from dynamic_mcp.upstream.http.connection import HttpUpstream
from dynamic_mcp.upstream.http.event_stream import EventParser
from dynamic_mcp.upstream.http.redirects import within_origin
from dynamic_mcp.upstream.http.reply import HttpReply

#: Seconds from the beginning of the stream to its ``endpoint`` event, which servers send first.
ENDPOINT_TIMEOUT = 10.0


class SseUpstream(HttpUpstream):
    """A server of the HTTP+SSE transport, which exists only in the legacy era."""

    def __init__(self, client: HttpClient, events: Events, *, max_size: int = MAX_MESSAGE) -> None:
        super().__init__(client, events, max_size=max_size)
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        await self._client.start()
        self._in_background(self._read_stream)
        await self._endpoint
        self.agreed = await handshake.initialize(
            self._peer, timeout, self._events.capabilities(), self._events.client_info()
        )
        await self._post(jsonrpc.notification(handshake.INITIALIZED))
        self._is_open = True

    async def _end_session(self) -> None:
        self._endpoint.cancel()

    # The stream

    async def _read_stream(self) -> None:
        try:
            async with self._client.request("GET", {"Accept": "text/event-stream"}) as reply:
                if reply.status != 200 or reply.content_type != "text/event-stream":
                    what = (
                        None
                        if reply.status in (301, 302, 303, 307, 308)
                        else f"it does not open an event stream (HTTP {reply.status})"
                    )
                    raise await self._client.refusal(reply, what)
                timer = asyncio.get_running_loop().call_later(ENDPOINT_TIMEOUT, self._give_up_endpoint)
                try:
                    await self._read(reply)
                finally:
                    timer.cancel()
            raise StreamEnded("the server ended its event stream")
        except UpstreamFailed as error:
            self._lose(error)
            if not self._endpoint.done():
                self._endpoint.set_exception(error)

    def _give_up_endpoint(self) -> None:
        if not self._endpoint.done():
            reason = f"its event stream announced no endpoint within {ENDPOINT_TIMEOUT:g} s"
            self._endpoint.set_exception(UpstreamFailed(reason))

    async def _read(self, reply: HttpReply) -> None:
        parser = EventParser(self._max_size, self._peer.receive_oversized)
        async for piece in self._flow.pieces(reply.chunks()):
            events = parser.feed(piece)
            for event in events:
                if event.type == "endpoint":
                    self._take_endpoint(first_bytes(event.data).decode(errors="replace").strip())
                elif event.type == "message" and event.data:
                    await self._peer.receive_line(event.data)
                else:
                    self._peer.count_junk(size_of(event.data))
            if not events and parser.is_idle:
                self._flow.count_blank(piece)
            if parser.is_endless:
                raise UpstreamGone(
                    f"it sends an endless event, of more than {format_size(ENDLESS_FACTOR * self._max_size)}"
                )

    def _take_endpoint(self, endpoint: str) -> None:
        if self._endpoint.done():
            log.debug("ignored a second endpoint event")
            return
        try:
            address = within_origin(self._client.url, endpoint)
        except ValueError:
            raise UpstreamFailed("its endpoint is not an address") from None
        if address is None:
            raise UpstreamFailed("its endpoint has another origin, so nothing is sent there")
        self._endpoint.set_result(address)

    # Messages to the server

    def _send(self, message: Outgoing) -> None:
        id = message.id
        if id is None:
            self._outbox.add(message)
            return
        post = self._in_background(lambda: self._post_request(id, message))
        self._peer.when_over(id, lambda: _end_soon(post))

    async def _post_request(self, id: int, message: Outgoing) -> None:
        """POST a request. Some servers answer the POST only when the call is done, so it may take as long as the call."""
        try:
            await self._post(message.line, may_sign_in=self._may_sign_in(message.method), may_last=True)
        except UpstreamFailed as error:
            self._peer.fail(id, error)

    async def _post_unanswered(self, message: Outgoing) -> None:
        await self._post(message.line)

    async def _post(self, line: bytes, *, may_sign_in: bool = False, may_last: bool = False) -> None:
        """POST one line. Raises UpstreamFailed if the server does not accept it."""
        headers, url = {"Content-Type": "application/json"}, self._endpoint.result()
        await self._client.post(headers, line.rstrip(), url=url, may_sign_in=may_sign_in, may_last=may_last)


def _end_soon(post: asyncio.Task[None]) -> None:
    """Let the POST of a request that is over have its answer, for ``ACCEPT_TIMEOUT`` at most."""
    if not post.done():
        asyncio.get_running_loop().call_later(ACCEPT_TIMEOUT, post.cancel)
