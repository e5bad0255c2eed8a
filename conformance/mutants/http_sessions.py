"""Mistakes in the sessions and streams of upstreams that speak Streamable HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.groups import backoff
from dynamic_mcp.upstream.http import streamable
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream, _Stream

if TYPE_CHECKING:
    from dynamic_mcp.protocol.jsonrpc import Message


@mutant("HTTP-009")
def goes_on_with_the_dead_session() -> None:
    async def wrong(self: StreamableHttpUpstream, dead: str) -> None:
        return None

    replace(StreamableHttpUpstream._renew, wrong)


@mutant("HTTP-009")
def is_lost_for_30_s_with_its_session() -> None:
    backoff.RESTART_DELAY = 30.0

    async def wrong(self: StreamableHttpUpstream, dead: str) -> None:
        end = UpstreamGone("it has forgotten the session")
        self._end.set_result(end)
        raise end

    replace(StreamableHttpUpstream._renew, wrong)


@mutant("HTTP-010")
def leaves_without_a_word() -> None:
    async def wrong(self: StreamableHttpUpstream) -> None:
        return None

    replace(StreamableHttpUpstream._end_session, wrong)


@mutant("HTTP-010")
def waits_for_the_goodbye_without_bound() -> None:
    streamable.GOODBYE = 3600.0


@mutant("HTTP-020", also={"HTTP-019": "a call after its break is posted twice"})
def posts_a_call_again_when_its_stream_broke() -> None:
    posted: dict[int, tuple[bytes, Message]] = {}
    right, resume = StreamableHttpUpstream._exchange, StreamableHttpUpstream._take_up_again

    async def remember(self: StreamableHttpUpstream, id: int, line: bytes, message: Message) -> None:
        posted[id] = line, message
        await right(self, id, line, message)

    async def wrong(self: StreamableHttpUpstream, stream: _Stream) -> None:
        assert stream._id is not None
        line, message = posted[stream._id]
        async with self._web.request("POST", self._headers(message), line.rstrip()):
            pass
        await resume(self, stream)

    replace(right, remember)
    replace(resume, wrong)


@mutant("HTTP-020")
def takes_a_stream_up_again_at_once() -> None:
    right = StreamableHttpUpstream._take_up_again

    async def wrong(self: StreamableHttpUpstream, stream: _Stream) -> None:
        stream.parser.retry = 0.0
        await right(self, stream)

    replace(right, wrong)


@mutant("HTTP-021")
def never_listens() -> None:
    async def wrong(self: StreamableHttpUpstream) -> None:
        return None

    replace(StreamableHttpUpstream._listen, wrong)


@mutant("HTTP-021")
def is_lost_without_a_stream() -> None:
    backoff.RESTART_DELAY = 30.0
    right = StreamableHttpUpstream._listen

    async def wrong(self: StreamableHttpUpstream) -> None:
        await right(self)
        # Not at once: that would end the connection before anybody has seen it work.
        await asyncio.sleep(3.0)
        self._end.set_result(UpstreamGone("it opens no stream of its own"))

    replace(right, wrong)


@mutant("HTTP-021")
def asks_for_a_stream_without_pause() -> None:
    right = StreamableHttpUpstream._listen

    async def wrong(self: StreamableHttpUpstream) -> None:
        while True:
            await right(self)

    replace(right, wrong)
