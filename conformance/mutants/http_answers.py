"""Mistakes in taking the answers of upstreams that speak Streamable HTTP."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, wire_http
from conformance.mutants.wire import INTERNAL_ERROR, decoded
from conformance.mutants.wire_http import EVENT_STREAM, Reply, data_of, whole_body, with_data
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.http.reply import HttpReply


@mutant("HTTP-002", also={"HTTP-056": "one of its types has a parameter too"})
def compares_the_whole_content_type() -> None:
    """The proxy compares the header, parameters included, with `application/json`."""

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        if reply.content_type != "application/json":
            return reply
        return Reply(reply, content_type=(reply.header("Content-Type") or "").lower())

    wire_http.change_replies(wrong)


@mutant("HTTP-003", also={"HTTP-005": "no event is taken before the stream ends"})
def joins_the_data_of_all_events() -> None:
    """The proxy parses all of it as one message. dmcp 1.5.0 behaves like this."""

    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if not request.is_call:
            async for chunk in chunks:
                yield chunk
            return
        found = [event async for event in wire_http.events(chunks)]
        yield with_data(b"".join(found), b"\n".join(filter(None, map(data_of, found))))

    wire_http.change_chunks(wrong)


@mutant("HTTP-003")
def takes_the_first_event_for_the_answer() -> None:
    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for event in wire_http.events(chunks):
            if request.is_call and "method" in (decoded(data_of(event)) or {}):
                error = {"code": INTERNAL_ERROR, "message": "the first event is not the answer"}
                yield with_data(event, {"jsonrpc": "2.0", "id": request.message["id"], "error": error})
            else:
                yield event

    wire_http.change_chunks(wrong)


@mutant("HTTP-004", also={"HTTP-020": "the event to resume after has none"})
def fails_at_an_event_without_data() -> None:
    def wrong(request: ProxyRequest, event: bytes) -> bytes:
        lines = [line for line in event.splitlines() if line and not line.startswith(b":")]
        if lines and not data_of(event):
            raise UpstreamFailed("an event has no data")
        return event

    wire_http.change_events(wrong)


@mutant("HTTP-004")
def knows_only_lf_as_line_end() -> None:
    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.replace(b"\r", b" ")

    wire_http.change_chunks(wrong)


@mutant("HTTP-005")
def reads_an_answer_to_its_end_first() -> None:
    """dmcp 1.5.0 behaves like this."""

    async def whole(reply: HttpReply) -> AsyncIterator[bytes]:
        yield b"".join([chunk async for chunk in reply.chunks()])

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        return Reply(reply, chunks=whole(reply)) if request.rpc == "tools/call" else reply

    wire_http.change_replies(wrong)


@mutant("HTTP-016", also={"HTTP-030": "the client gets no error for the page"})
def takes_a_page_for_the_answer() -> None:
    """The client gets an HTML page as tool content."""

    async def as_result(request: ProxyRequest, reply: HttpReply) -> AsyncIterator[bytes]:
        body = await whole_body(reply)
        result = {"content": [{"type": "text", "text": body.decode()}]}
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "result": result}
        yield msgspec.json.encode(answer) if decoded(body) is None else body

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        if reply.status != 200 or reply.content_type != "text/html" or not request.is_call:
            return reply
        return Reply(reply, content_type="application/json", chunks=as_result(request, reply))

    wire_http.change_replies(wrong)


@mutant("HTTP-016", also={"HTTP-030": "the calls with the next bad answers do not arrive"})
def drops_the_group_at_a_bad_answer() -> None:
    """Every later request of this connection fails."""

    async def wrong(request: ProxyRequest) -> None:
        break_connection(request)

    _at_a_bad_answer(wrong)


@mutant("HTTP-030")
def notices_a_bad_answer_at_the_timeout() -> None:
    _at_a_bad_answer(lambda request: asyncio.sleep(20.0))


def _at_a_bad_answer(do: Callable[[ProxyRequest], Awaitable[None]]) -> None:
    """When the answer to a call is something else than JSON."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            is_known = reply.content_type in ("application/json", EVENT_STREAM)
            if request.rpc != "tools/call" or reply.status != 200 or is_known:
                yield reply
                return
            body = await whole_body(reply)
            if decoded(body) is None:
                await do(request)
            yield Reply(reply, chunks=_one(body))

    wire_http.around_requests(wrong)


@mutant("HTTP-017", also={"OPS-016": "the event stream of the older transport ends too"})
def ends_every_exchange_after_10_s() -> None:
    """dmcp 1.5.0 behaves like this: its HTTP client has a total timeout."""
    limit_exchanges(10.0)


@mutant("HTTP-018")
def makes_one_exchange_at_a_time() -> None:
    """The proxy holds a lock over a whole request, unless it is a subscription."""
    locks: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        is_short = request.is_call and request.rpc != "subscriptions/listen"
        lock = locks[request.client] if is_short else asyncio.Lock()
        async with lock, send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-018")
def gives_the_first_answer_to_the_oldest_call() -> None:
    """The bodies of the answers go to the calls in the order in which the calls began."""
    waiting: defaultdict[object, list[asyncio.Future[bytes]]] = defaultdict(list)

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        mine: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        calls = waiting[request.client] if request.rpc == "tools/call" else []
        calls.append(mine)
        try:
            async with send(request) as reply:
                if calls == [mine] or reply.content_type != "application/json":
                    if mine.done() and calls:
                        calls.pop(0).set_result(mine.result())
                    yield reply
                    return
                calls.pop(0).set_result(await whole_body(reply))
                body = await mine
                answer = decoded(body)
                if answer is not None:
                    body = msgspec.json.encode({**answer, "id": request.message["id"]})
                yield Reply(content_type="application/json", chunks=_one(body))
        finally:
            if mine in calls:
                calls.remove(mine)

    wire_http.around_requests(wrong)


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


@mutant("HTTP-019")
def waits_half_a_minute_for_a_lost_answer() -> None:
    """The call waits for its full 30 s."""
    _when_an_answer_is_lost(lambda request: asyncio.sleep(30.0))


@mutant("HTTP-019")
def keeps_to_the_broken_connection() -> None:
    async def wrong(request: ProxyRequest) -> None:
        break_connection(request)

    _when_an_answer_is_lost(wrong)


def _when_an_answer_is_lost(do: Callable[[ProxyRequest], Awaitable[None]]) -> None:
    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in chunks:
                yield chunk
        except UpstreamGone:
            if request.is_call:
                await do(request)
            raise

    wire_http.change_chunks(wrong)


def break_connection(request: ProxyRequest) -> None:
    """From now on all requests of this connection fail."""
    if not _broken:
        _let_broken_connections_fail()
    _broken.add(request.client)


_broken: set[object] = set()


def _let_broken_connections_fail() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.client in _broken:
            raise UpstreamGone("the connection is broken")
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


def limit_exchanges(seconds: float) -> None:
    """Give the HTTP library a time limit for a whole exchange."""

    def wrong(request: ProxyRequest) -> None:
        import aiohttp

        request.options["timeout"] = aiohttp.ClientTimeout(total=seconds)

    wire_http.change_requests(wrong)
