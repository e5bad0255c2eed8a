"""Mistakes with upstreams of the HTTP+SSE transport."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from conformance.mutants import instances, mutant, replace, wire_http
from conformance.mutants.http_answers import limit_exchanges
from conformance.mutants.rld import changes_by_reloads
from conformance.mutants.wire import decoded
from conformance.mutants.wire_http import (
    EVENT_STREAM,
    Reply,
    data_of,
    drop_configured_headers,
    whole_body,
    with_data,
)
from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.groups.backoff import Backoff
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import ids
from dynamic_mcp.upstream.http import legacy_sse
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.reply import HttpReply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conformance.mutants.wire import Message
    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.base import Upstream


@mutant("SSE-001", also={"SSE-002": "the first POST does not go to the endpoint"})
def posts_to_the_url_of_the_stream_first() -> None:
    """dmcp 1.5.0 behaves like this."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.method == "GET":
            first = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}
            headers = {"Content-Type": "application/json"}
            body = msgspec.json.encode(first)
            async with send(wire_http.ProxyRequest(request.client, "POST", request.url, headers, body)):
                pass
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("SSE-002", also={"SSE-004": "the server with the sign-in answers only at its endpoint"})
def glues_the_endpoint_to_the_url() -> None:
    _change_endpoints(lambda url, given: url + given)


@mutant("SSE-002")
def loses_the_query_of_the_endpoint() -> None:
    _change_endpoints(lambda url, given: given.partition("?")[0])


def _change_endpoints(change: Callable[[str, str], str]) -> None:
    def wrong(request: ProxyRequest, event: bytes) -> bytes:
        if b"event: endpoint" not in event:
            return event
        return with_data(event, change(request.url, data_of(event).decode()).encode())

    wire_http.change_events(wrong)


@mutant(
    "SSE-003",
    also=dict.fromkeys(("SSE-001", "SSE-002", "SSE-004", "SSE-008"), "its servers answer on the stream"),
)
def takes_answers_from_the_posts() -> None:
    """The proxy parses the body of the answer to each POST."""
    taken: dict[tuple[object, int], object] = {}

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            if not request.is_call:
                yield reply
                return
            message = decoded(await whole_body(reply)) or {}
            if "result" in message:
                taken[request.client, request.message["id"]] = message["result"]
            yield Reply(reply, status=reply.status if "result" in message else 500)

    def instead_of_the_stream(request: ProxyRequest, event: bytes) -> bytes | None:
        message = decoded(data_of(event)) or {}
        if "result" not in message:
            return event
        key = request.client, message["id"]
        return with_data(event, {**message, "result": taken[key]}) if key in taken else None

    wire_http.around_requests(wrong)
    wire_http.change_events(instead_of_the_stream)


@mutant("SSE-003")
def gives_each_answer_of_the_stream_to_the_oldest_request() -> None:
    asked: defaultdict[object, list[int]] = defaultdict(list)

    async def remember(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.is_call:
            asked[request.client].append(request.message["id"])
        async with send(request) as reply:
            yield reply

    def wrong(request: ProxyRequest, event: bytes) -> bytes:
        message: Message = decoded(data_of(event)) or {"method": ""}
        if "method" in message:
            return event
        return with_data(event, {**message, "id": asked[request.client].pop(0)})

    wire_http.around_requests(remember)
    wire_http.change_events(wrong)


@mutant("STD-015")
def gives_a_late_answer_of_the_stream_to_the_oldest_call() -> None:
    asked: defaultdict[object, list[int]] = defaultdict(list)

    async def remember(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.rpc == "tools/call":
            asked[request.client].append(request.message["id"])
        if request.rpc == "notifications/cancelled":
            asked[request.client].remove(request.message["params"]["requestId"])
        async with send(request) as reply:
            yield reply

    def wrong(request: ProxyRequest, event: bytes) -> bytes:
        message: Message = decoded(data_of(event)) or {}
        calls = asked[request.client]
        if "content" not in (message.get("result") or {}) or not calls:
            return event
        id = message["id"] if message["id"] in calls else calls[0]
        calls.remove(id)
        return with_data(event, {**message, "id": id})

    wire_http.around_requests(remember)
    wire_http.change_events(wrong)


@mutant("SSE-015")
def sends_the_configured_headers_with_the_get_only() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.method == "POST":
            drop_configured_headers(request)

    wire_http.change_requests(wrong)


@mutant("SSE-004")
def sends_the_bearer_with_the_get_only() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.method == "POST":
            request.headers.pop("Authorization", None)

    wire_http.change_requests(wrong)


@mutant("SSE-005", also={"HARD-003": "the other origin may have http://"})
def follows_an_endpoint_to_another_origin() -> None:
    """The proxy sends `Authorization` there."""
    endpoints: dict[object, str] = {}

    def hide(request: ProxyRequest, event: bytes) -> bytes:
        if b"event: endpoint" not in event:
            return event
        endpoints[request.client] = urljoin(request.url, data_of(event).decode())
        return with_data(event, b"/of-the-same-origin")

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.method == "POST":
            request.url = endpoints.get(request.client, request.url)
        async with send(request) as reply:
            yield reply

    wire_http.change_events(hide)
    wire_http.around_requests(wrong)


@mutant("SSE-006")
def ends_an_idle_stream_after_10_s() -> None:
    """The HTTP client has a total timeout."""
    limit_exchanges(10.0)


@mutant("SSE-007")
def goes_on_without_its_stream() -> None:
    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with suppress(UpstreamGone):
            async for chunk in chunks:
                yield chunk
        await asyncio.Event().wait()

    wire_http.change_chunks(wrong)


@mutant("SSE-007")
def leaves_streams_open_at_a_reload() -> None:
    reloads = changes_by_reloads()
    left: list[object] = []
    end, close = HttpReply.end, HttpClient.close

    def not_ended(self: HttpReply) -> None:
        if reloads and self.content_type == EVENT_STREAM:
            left.append(self)
        else:
            end(self)

    async def not_closed(self: HttpClient) -> None:
        if reloads:
            left.append(self)
        else:
            await close(self)

    replace(end, not_ended)
    replace(close, not_closed)


@mutant("SSE-007")
def keeps_to_the_first_endpoint() -> None:
    first: dict[str, str] = {}

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.method == "POST":
            request.url = first.setdefault(request.client.url, request.url)
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("SSE-016")
def trusts_in_its_open_stream() -> None:
    """A refused POST fails its call alone, for as long as the stream is open."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            lost = request.method == "POST" and reply.status in (400, 404)
            yield Reply(status=502) if lost else reply

    wire_http.around_requests(wrong)


@mutant("SSE-017")
def counts_the_requests_of_each_connection_from_1() -> None:
    """The proxy behaved like this before version 1.3 of the requirements."""
    replace(ids.ids_of_this_process, lambda: count(1))


@mutant("SSE-008")
def waits_a_minute_for_an_endpoint() -> None:
    legacy_sse.ENDPOINT_TIMEOUT = 60.0


@mutant("SSE-008")
def no_group_works_before_all_have_settled() -> None:
    known, right = instances(Group), Group.live

    async def wrong(self: Group) -> tuple[Group, Upstream]:
        for one in known:
            await one.wait_first_attempt()
        return await right(self)

    replace(right, wrong)


@mutant("SSE-013")
def takes_the_end_of_a_stream_for_a_crash() -> None:
    replace(Backoff.after_end, lambda self: False)
