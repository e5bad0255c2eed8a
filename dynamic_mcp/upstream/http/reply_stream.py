"""The event stream of one reply of a Streamable HTTP upstream, over several connections if necessary.

If a stream breaks before the answer and its events have ids, the proxy resumes it with ``Last-Event-ID`` (MCP 2025-11-25,
basic/transports, "Resumability and Redelivery"). Modern servers have no resumption.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.protocol import replacements
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import Malformed
from dynamic_mcp.protocol.oversized import OnOversizedMessage, OversizedMessages
from dynamic_mcp.protocol.pieces import Line, Pieces, first_character
from dynamic_mcp.upstream.flow import EventFlow
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.event_stream import EventParser, ServerSentEvent
from dynamic_mcp.upstream.http.json_body import NoAnswer, messages_in
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import ANSWER_FORGOTTEN, HttpSession

#: Seconds before the proxy resumes a stream, if the server names no time.
RETRY_DELAY = 1.0
#: The shortest pause before the proxy opens a stream again, even if the server asks for less.
MIN_RETRY_DELAY = 0.1
#: A stream that was open for so many seconds did not fail: a gateway ended it, or the server lets its clients poll.
NO_FAILURE_AFTER = 0.5
#: Refusals of a server that is busy, or still takes the last stream for open, beside those from 500 on.
BUSY = frozenset({408, 409, 425, 429})
#: How often in a row the proxy resumes the stream of one answer in vain before the request fails.
MAX_RESUMPTIONS = 5

_LOST = "the connection was lost before the answer came"


async def _never() -> bool:
    return False


class SpeaksHttpSse(UpstreamFailed):
    """A server answered a POST with the stream of an HTTP+SSE server."""


class ReplyStream:
    """Reads the events of a reply: the answer to one request, or the server's own stream."""

    def __init__(
        self,
        id: int | None,
        deliver: Callable[[Line], Awaitable[bool]],
        on_oversized: OnOversizedMessage,
        flow: EventFlow,
        *,
        max_size: int,
        last_id: str = "",
    ) -> None:
        """``deliver`` takes the data of each event, and returns true for the answer. ``flow`` is that of all streams of the server.

        ``id`` is the id of the request; None for the server's own stream.
        """
        self._id = id
        self._deliver = deliver
        self._report_oversized = on_oversized
        self._oversized = OversizedMessages(self._on_oversized)
        self._flow = flow
        self._max_size = max_size
        self._is_oversized = False
        #: for how many seconds the last connection was open
        self.lasted = 0.0
        #: why no answer came, if none did
        self.failure: UpstreamFailed = UpstreamGone(_LOST)
        #: a body that is JSON instead of events
        self._json = Pieces()
        self.parser = EventParser(max_size, self._oversized.take, last_id=last_id)

    async def read(self, reply: HttpReply) -> bool:
        """Read until the answer or the end of the stream; true after the answer. A broken connection is an end.

        Raises UpstreamFailed if the stream cannot be read.
        """
        before = self.parser
        self.parser = EventParser(
            self._max_size, self._oversized.take, last_id=before.last_id, retry=before.retry
        )
        began = asyncio.get_running_loop().time()
        try:
            async for event in self._events(reply):
                if event.type == "endpoint" and self._id is not None:
                    raise SpeaksHttpSse('its url is that of an HTTP+SSE server; add "type": "sse"')
                if event.data and await self._deliver(event.data):
                    return True
            self.failure = NoAnswer("the server ended its event stream without an answer")
            if await self._take_rest():
                return True
        except UpstreamGone as error:
            log.debug("a stream broke: %s", error)
            self.failure = UpstreamGone(_LOST)
        self.lasted = asyncio.get_running_loop().time() - began
        return self._is_oversized

    async def resume(
        self, client: HttpClient, session: HttpSession, is_lost: Callable[[], Awaitable[bool]] = _never
    ) -> None:
        """Resume a stream that ended before the answer, as often as it ends. Raises UpstreamFailed if the answer does not come.

        ``is_lost`` tells whether the session of the request has ended. The ids of its events mean nothing in another session.

        A resumption is in vain if there is no reply, or one of a gateway. It is also in vain if the stream ends at once without a new event
        id, and the server named no time for a pause.
        """
        in_vain = 0
        while (last_id := self.parser.last_id) and in_vain < MAX_RESUMPTIONS:
            requested = self.parser.retry
            await asyncio.sleep(RETRY_DELAY if requested is None else max(requested, MIN_RETRY_DELAY))
            if await is_lost():
                raise UpstreamGone(ANSWER_FORGOTTEN)
            try:
                async with client.request("GET", session.stream_headers(last_id)) as reply:
                    if reply.status >= 500 or reply.status in BUSY:
                        # The gateway, or a server that is busy.
                        self.lasted, requested = 0.0, None
                    elif reply.status != 200 or reply.content_type != "text/event-stream":
                        break
                    elif await self.read(reply):
                        return
            except UpstreamGone as error:
                log.debug("a stream was not resumed: %s", error)
                self.lasted, requested, self.failure = 0.0, None, UpstreamGone(_LOST)
            is_useful = self.parser.last_id != last_id or self.lasted + (requested or 0.0) >= NO_FAILURE_AFTER
            in_vain = 0 if is_useful else in_vain + 1
        raise self.failure

    async def _events(self, reply: HttpReply) -> AsyncIterator[ServerSentEvent]:
        is_json, self._json = None, Pieces()
        async for piece in self._flow.pieces(reply.chunks()):
            if is_json is None:
                is_json = first_character(piece) in (b"{", b"[")
            if is_json and self._json.size <= self._max_size:
                self._json.add(piece)
            events = self.parser.feed(piece)
            for event in events:
                yield event
            if not events and self.parser.is_idle and not is_json:
                self._flow.count_blank(piece)
            if self._is_oversized:
                return
            if self.parser.is_endless:
                raise UpstreamFailed("it sends an endless event")

    async def _take_rest(self) -> bool:
        """Take the answer from a stream that ended without the last line ends, or whose whole body is JSON; true if it is there."""
        if self._id is not None:
            for data in (self._json.take_line(), self.parser.take_unfinished()):
                if data and await _is_whole_answer(data) and await self._deliver(data):
                    return True
        return False

    def _on_oversized(self, id: bytes, is_answer: bool) -> None:
        """Report a request, and the answer of this stream. Another answer belongs to no request."""
        if is_answer:
            if self._id is None or whole_number(id) != self._id:
                return
            self._is_oversized = True
        self._report_oversized(id, is_answer)


async def _is_whole_answer(data: Line) -> bool:
    """Whether nothing is missing at the end of an answer. The server sends a notification again when the stream resumes."""
    try:
        return any([(await replacements.parse_any(one)).method is None for one in await messages_in(data)])
    except Malformed:
        return False
