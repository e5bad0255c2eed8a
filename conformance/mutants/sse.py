"""Mistakes with upstreams of the HTTP+SSE transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from conformance.mutants.http_answers import limit_exchanges
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.groups import group
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.protocol.jsonrpc import Message
    from dynamic_mcp.upstream.base import Upstream

_JSON = {"Content-Type": "application/json"}


@mutant("SSE-001", also={"SSE-002": "the first POST does not go to the endpoint"})
def posts_to_the_url_of_the_stream_first() -> None:
    right = SseUpstream.open

    async def wrong(self: SseUpstream, timeout: float, *, skip_probe: bool = False) -> None:
        await self._web.start()
        async with self._web.request("POST", _JSON, jsonrpc.request(b"0", "initialize", b"{}")):
            pass
        await right(self, timeout, skip_probe=skip_probe)

    replace(right, wrong)


@mutant("SSE-002")
def glues_the_endpoint_to_the_url() -> None:
    _resolve_endpoints(lambda url, given: url + given)


@mutant("SSE-002")
def loses_the_query_of_the_endpoint() -> None:
    _resolve_endpoints(lambda url, given: urljoin(url, given).partition("?")[0])


@mutant(
    "SSE-003",
    also=dict.fromkeys(("SSE-001", "SSE-002", "SSE-004", "SSE-008"), "its servers answer on the stream"),
)
def takes_answers_from_the_posts() -> None:
    async def wrong(self: SseUpstream, line: bytes, message: Message) -> None:
        async with self._web.request("POST", _JSON, line.rstrip(), url=self._endpoint.result()) as reply:
            body = await reply.body(1 << 20)
        if not message.id:
            return
        try:
            result = msgspec.json.decode(body, type=dict[str, Raw])["result"]
        except (msgspec.DecodeError, KeyError):
            self._peer.fail(int(bytes(message.id)), UpstreamFailed("the POST was not answered with a result"))
        else:
            self._peer.answered(jsonrpc.Message("2.0", id=message.id, result=result))

    replace(SseUpstream._post, wrong)


@mutant("SSE-003")
def gives_each_answer_of_the_stream_to_the_oldest_request() -> None:
    right = Peer.answered

    def wrong(self: Peer, message: Message) -> None:
        oldest = min(self._pending, default=0)
        right(self, msgspec.structs.replace(message, id=Raw(b"%d" % oldest)))

    replace(right, wrong)


@mutant("SSE-004")
def sends_the_configured_headers_with_the_get_only() -> None:
    right = HttpClient._send

    async def wrong(self: HttpClient, method: str, *request: Any) -> Any:
        configured = self._headers
        self._headers = configured if method == "GET" else {}
        try:
            return await right(self, method, *request)
        finally:
            self._headers = configured

    replace(right, wrong)


@mutant("SSE-004")
def sends_the_bearer_with_the_get_only() -> None:
    right = HttpClient._send

    async def wrong(
        self: HttpClient, method: str, headers: Any, body: Any, url: str, bearer: str | None
    ) -> Any:
        return await right(self, method, headers, body, url, bearer if method == "GET" else None)

    replace(right, wrong)


@mutant("SSE-005", also={"HARD-003": "the other origin may have http://"})
def follows_an_endpoint_to_another_origin() -> None:
    def wrong(self: SseUpstream, given: str) -> None:
        self._endpoint.set_result(urljoin(self._web.url, given))

    replace(SseUpstream._take_endpoint, wrong)


@mutant("SSE-006")
def ends_an_idle_stream_after_10_s() -> None:
    limit_exchanges(10.0)


@mutant("SSE-007")
def goes_on_without_its_stream() -> None:
    def wrong(self: SseUpstream, reason: UpstreamFailed) -> None:
        return None

    replace(SseUpstream._over, wrong)


@mutant("SSE-007")
def keeps_to_the_first_endpoint() -> None:
    first: dict[str, str] = {}
    right = SseUpstream._take_endpoint

    def wrong(self: SseUpstream, given: str) -> None:
        right(self, first.setdefault(self._web.url, given))

    replace(right, wrong)


@mutant("SSE-008")
def waits_a_minute_for_an_endpoint() -> None:
    group.CONNECT_BUDGET = 60.0


@mutant("SSE-008")
def no_group_works_before_all_have_settled() -> None:
    known: set[Group] = set()
    begin, right = Group.run, Group.connected

    async def run(self: Group) -> None:
        known.add(self)
        await begin(self)

    async def wrong(self: Group) -> Upstream:
        for one in known:
            await one._settled.wait()
        return await right(self)

    replace(begin, run)
    replace(right, wrong)


def _resolve_endpoints(resolve: Callable[[str, str], str]) -> None:
    replace(urljoin, resolve)
