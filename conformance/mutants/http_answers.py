"""Mistakes in taking the answers of upstreams that speak Streamable HTTP."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.http import event_stream
from dynamic_mcp.upstream.http.client import HttpClient, HttpReply
from dynamic_mcp.upstream.http.event_stream import EventParser
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream, _Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dynamic_mcp.upstream.http.event_stream import ServerSentEvent


@mutant("HTTP-002")
def compares_the_whole_content_type() -> None:
    right = HttpReply.__init__

    def wrong(self: HttpReply, response: Any) -> None:
        right(self, response)
        self.content_type = response.headers.get("Content-Type", "").lower()

    replace(right, wrong)


@mutant("HTTP-003", also={"HTTP-005": "no event is taken before the stream ends"})
def joins_the_data_of_all_events() -> None:
    right = _Stream._events

    async def wrong(self: _Stream, reply: HttpReply) -> AsyncIterator[ServerSentEvent]:
        found = [event async for event in right(self, reply)]
        yield event_stream.ServerSentEvent(
            "message", b"\n".join(event.data for event in found), self.parser.last_id
        )

    replace(right, wrong)


@mutant("HTTP-003")
def takes_the_first_event_for_the_answer() -> None:
    right = StreamableHttpUpstream._deliver

    def wrong(self: StreamableHttpUpstream, id: int, data: bytes, **more: bool) -> bool:
        if not right(self, id, data, **more) and id in self._posts:
            self._peer.fail(id, UpstreamFailed("its first event is not the answer"))
        return True

    replace(right, wrong)


@mutant("HTTP-004", also={"HTTP-020": "the event to resume after has none"})
def fails_at_an_event_without_data() -> None:
    def check(event: ServerSentEvent) -> None:
        if not event.data:
            raise UpstreamFailed("an event has no data")

    _look_at_events(check)


@mutant("HTTP-004")
def knows_only_lf_as_line_end() -> None:
    right = EventParser.feed

    def wrong(self: EventParser, chunk: bytes) -> list[ServerSentEvent]:
        return right(self, chunk.replace(b"\r", b" "))

    replace(right, wrong)


@mutant("HTTP-005", also={"HTTP-015": "one of the refusals has no end"})
def reads_an_answer_to_its_end_first() -> None:
    right = HttpReply.chunks

    async def wrong(self: HttpReply) -> AsyncIterator[bytes]:
        yield b"".join([chunk async for chunk in right(self)])

    replace(right, wrong)


@mutant("HTTP-016")
def takes_a_page_for_the_answer() -> None:
    right = StreamableHttpUpstream._take_whole

    async def wrong(self: StreamableHttpUpstream, id: int, reply: HttpReply, *more: Any) -> None:
        if reply.content_type != "text/html":
            await right(self, id, reply, *more)
            return
        text = {"type": "text", "text": (await reply.body(1 << 20)).decode()}
        result = Raw(msgspec.json.encode({"content": [text]}))
        self._peer.answered(Message("2.0", id=Raw(b"%d" % id), result=result))

    replace(right, wrong)


@mutant(
    "HTTP-016",
    also={
        "HTTP-009": "404 for a session is one",
        "HTTP-015": "older servers refuse the probe with one",
        "HTTP-023": "the refusal of a version is one",
    },
)
def drops_the_group_at_a_bad_answer() -> None:
    right = StreamableHttpUpstream._take_whole

    async def wrong(self: StreamableHttpUpstream, *arguments: Any) -> None:
        try:
            await right(self, *arguments)
        except UpstreamFailed as error:
            self._peer.close(UpstreamGone(str(error)))

    replace(right, wrong)


@mutant("HTTP-017")
def ends_every_exchange_after_10_s() -> None:
    limit_exchanges(10.0)


@mutant(
    "HTTP-018", also=dict.fromkeys(("HTTP-022", "HTTP-023"), "a subscription is an exchange that stays open")
)
def makes_one_exchange_at_a_time() -> None:
    locks: defaultdict[StreamableHttpUpstream, asyncio.Lock] = defaultdict(asyncio.Lock)
    right = StreamableHttpUpstream._exchange

    async def wrong(self: StreamableHttpUpstream, *arguments: Any) -> None:
        async with locks[self]:
            await right(self, *arguments)

    replace(right, wrong)


@mutant("HTTP-019", also={"HTTP-020": "nor does it resume the stream before"})
def waits_half_a_minute_for_a_lost_answer() -> None:
    right = StreamableHttpUpstream._take_up_again

    async def wrong(self: StreamableHttpUpstream, stream: _Stream) -> None:
        await asyncio.sleep(30.0)
        await right(self, stream)

    replace(right, wrong)


@mutant("HTTP-019")
def keeps_to_the_broken_connection() -> None:
    broken: set[StreamableHttpUpstream] = set()
    lost, right = StreamableHttpUpstream._take_up_again, StreamableHttpUpstream._exchange

    async def remember(self: StreamableHttpUpstream, stream: _Stream) -> None:
        broken.add(self)
        await lost(self, stream)

    async def wrong(self: StreamableHttpUpstream, *arguments: Any) -> None:
        if self in broken:
            raise UpstreamGone("the connection is broken")
        await right(self, *arguments)

    replace(lost, remember)
    replace(right, wrong)


def limit_exchanges(seconds: float) -> None:
    """Give the HTTP library a time limit for a whole exchange."""
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        await right(self)
        import aiohttp

        assert self._session is not None
        self._session._timeout = aiohttp.ClientTimeout(total=seconds)

    replace(right, wrong)


def _look_at_events(look: Callable[[ServerSentEvent], None]) -> None:
    right = _Stream._events

    async def wrong(self: _Stream, reply: HttpReply) -> AsyncIterator[ServerSentEvent]:
        async for event in right(self, reply):
            look(event)
            yield event

    replace(right, wrong)
