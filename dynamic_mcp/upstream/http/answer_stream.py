"""The event streams of a Streamable HTTP upstream: the answer to one request, and the server's own stream.

A stream that breaks before the answer is resumed with ``Last-Event-ID``, where the server numbers its events (MCP 2025-11-25, transports,
"Resumability and Redelivery"). Modern servers have neither resumption nor a stream of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import OnOversized
from dynamic_mcp.upstream.http.client import HttpClient, HttpReply
from dynamic_mcp.upstream.http.event_stream import EventParser, ServerSentEvent
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds before a broken stream is resumed, when the server does not say; doubled each time it breaks at once.
RETRY = 1.0
MAX_RETRY = 30.0
#: The shortest pause before the server's own stream is opened again, whatever the server says.
MIN_RETRY = 0.1
#: How often one answer is fetched again before the request fails.
RESUMPTIONS = 5


class AnswerStream:
    """The events of the answer to one request, over as many connections as it takes."""

    def __init__(
        self,
        id: int | None,
        deliver: Callable[[bytes], bool],
        on_oversized: OnOversized,
        resume: asyncio.Event,
        *,
        max_size: int,
        last_id: str = "",
    ) -> None:
        """``deliver`` takes the data of each event, and is true for the answer; ``resume`` is set while the client reads.

        ``id`` is that of the request, None for the server's own stream.
        """
        self._id = id
        self._deliver = deliver
        self._tell_oversized = on_oversized
        self._resume = resume
        self._max_size = max_size
        self._is_oversized = False
        self.parser = EventParser(max_size, self._on_oversized, last_id=last_id)

    async def read(self, reply: HttpReply) -> bool:
        """Read until the answer, or to the end; true when the answer came. A connection that breaks is an end."""
        before = self.parser
        self.parser = EventParser(
            self._max_size, self._on_oversized, last_id=before.last_id, retry=before.retry
        )
        try:
            async for event in self._events(reply):
                if event.data and self._deliver(event.data):
                    return True
        except UpstreamGone as error:
            log.debug("a stream broke: %s", error)
        return self._is_oversized

    async def fetch_again(self, client: HttpClient, session: HttpSession) -> None:
        """Resume a stream that ended before the answer. Raises UpstreamGone when the answer cannot be fetched."""
        for _ in range(RESUMPTIONS):
            if not self.parser.last_id:
                break
            await asyncio.sleep(RETRY if self.parser.retry is None else self.parser.retry)
            async with client.request("GET", session.stream_headers(self.parser.last_id)) as reply:
                if reply.status != 200 or reply.content_type != "text/event-stream":
                    break
                if await self.read(reply):
                    return
        raise UpstreamGone("the connection was lost before the answer came")

    async def _events(self, reply: HttpReply) -> AsyncIterator[ServerSentEvent]:
        async for chunk in reply.chunks():
            await self._resume.wait()
            for event in self.parser.feed(chunk):
                yield event
            if self._is_oversized:
                return
            if self.parser.is_endless:
                raise UpstreamFailed("it sends an event without end")

    def _on_oversized(self, edge: bytes, last: bool) -> None:
        """Note that the answer of this stream is too large. Other messages that are too large concern no request."""
        if self._id is not None and jsonrpc.id_at(edge, last) == b"%d" % self._id:
            self._is_oversized = True
            self._tell_oversized(edge, last)


async def listen(
    client: HttpClient, session: HttpSession, open_stream: Callable[[str], AnswerStream]
) -> None:
    """Read the server's own stream for as long as the server offers one (MCP 2025-11-25, transports, "Listening for Messages").

    ``open_stream`` makes the stream that goes on after an event id.
    """
    delay, last_id = RETRY, ""
    while True:
        stream = open_stream(last_id)
        began = asyncio.get_running_loop().time()
        try:
            async with client.request("GET", session.stream_headers(last_id)) as reply:
                if reply.content_type != "text/event-stream" or reply.status != 200:
                    if reply.status < 500 and reply.status != 404:
                        # 405: this server has no stream of its own.
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
