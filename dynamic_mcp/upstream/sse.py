"""An upstream of the HTTP+SSE transport of MCP 2024-11-05: one stream from the server, and an address to post to.

The stream is opened first; its ``endpoint`` event names the address, which must be of the same origin, because every message and every
configured header goes there. Answers come on the stream, matched by id; what a POST is answered with is not looked at beyond
its status. When the stream ends, the upstream is lost: the server keeps its state with the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urljoin

import anyio
from msgspec import Raw

from dynamic_mcp.errors import HttpStatus, SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.origin import origin_of
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import MOST_MESSAGE, Message
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Options
from dynamic_mcp.upstream.events import EventParser
from dynamic_mcp.upstream.web import Reply, Web


class SseUpstream:
    """A server of the older transport. It knows no other era than its own."""

    modern = False

    def __init__(self, web: Web, events: Events) -> None:
        self.capabilities: dict[str, Raw] = {}
        self._web = web
        self._events = events
        self._peer = Peer(self._send, events.on_notification, events.on_request)
        self._tasks: set[asyncio.Task[None]] = set()
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._end: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()
        self._resume = asyncio.Event()
        self._resume.set()
        self._opened = False

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """See ``Upstream``."""
        await self._web.start()
        self._in_background(self._read_stream())
        await self._endpoint
        agreed = await handshake.initialize(self._peer, timeout, self._events.capabilities())
        await self._post_once(jsonrpc.notification(handshake.INITIALIZED))
        self.capabilities = agreed.capabilities
        self._opened = True

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """See ``Upstream``."""
        return await self._peer.request(method, params, options.timeout, options.on_progress)

    def notify(self, method: str, params: bytes = b"") -> None:
        """See ``Upstream``."""
        self._peer.notify(method, params)

    async def lost(self) -> UpstreamGone:
        """See ``Upstream``."""
        return await asyncio.shield(self._end)

    def last_words(self) -> str:
        """See ``Upstream``: such a server has no stderr."""
        return ""

    def pause(self, paused: bool) -> None:
        """See ``Upstream``."""
        if paused:
            self._resume.clear()
        else:
            self._resume.set()

    async def close(self) -> None:
        """See ``Upstream``."""
        with anyio.CancelScope(shield=True):
            self._peer.close(UpstreamGone("the connection was closed"))
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._endpoint.cancel()
            await self._web.close()
            if not self._end.done():
                self._end.set_result(UpstreamGone("the connection was closed"))

    # The stream

    async def _read_stream(self) -> None:
        try:
            async with self._web.request("GET", {"Accept": "text/event-stream"}) as reply:
                if reply.status != 200 or reply.content_type != "text/event-stream":
                    raise HttpStatus(
                        f"it does not open an event stream (HTTP {reply.status})", status=reply.status
                    )
                await self._read(reply)
            raise UpstreamGone("the server ended its event stream")
        except UpstreamFailed as error:
            self._over(error)

    async def _read(self, reply: Reply) -> None:
        parser = EventParser(MOST_MESSAGE, self._peer.receive_oversized)
        async for chunk in reply.chunks():
            await self._resume.wait()
            for event in parser.feed(chunk):
                if event.type == "endpoint":
                    self._take_endpoint(event.data.decode(errors="replace").strip())
                elif event.type == "message" and event.data:
                    self._peer.receive(event.data)

    def _take_endpoint(self, given: str) -> None:
        if self._endpoint.done():
            log.debug("a second endpoint event was ignored")
            return
        try:
            address = urljoin(self._web.url, given)
            same = origin_of(address) == origin_of(self._web.url)
        except ValueError:
            raise UpstreamFailed("its endpoint is not an address") from None
        if not same:
            raise UpstreamFailed("its endpoint is of another origin, where nothing is sent to")
        self._endpoint.set_result(address)

    def _over(self, reason: UpstreamFailed) -> None:
        self._peer.close(reason)
        if not self._endpoint.done():
            self._endpoint.set_exception(reason)
        if not self._end.done():
            self._end.set_result(UpstreamGone(str(reason)))

    # Messages to the server

    def _send(self, line: bytes) -> None:
        self._in_background(self._post(line, jsonrpc.parse(line)))

    async def _post(self, line: bytes, message: Message) -> None:
        try:
            try:
                await self._post_once(line)
            except SignInNeeded as need:
                if not self._opened:
                    raise
                await self._web.sign_in(need)
                await self._post_once(line)
        except UpstreamFailed as error:
            if message.method is not None and message.id:
                self._peer.fail(int(bytes(message.id)), error)

    async def _post_once(self, line: bytes) -> None:
        headers, url = {"Content-Type": "application/json"}, self._endpoint.result()
        status = await self._web.post(headers, line.rstrip(), url=url)
        if status >= 300:
            raise HttpStatus(f"it answered with HTTP {status}", status=status)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
