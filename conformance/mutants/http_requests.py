"""Mistakes in the requests to upstreams that speak Streamable HTTP."""

from __future__ import annotations

import re
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace, wire_http
from conformance.mutants.wire_http import Reply, drop_configured_headers, joined, whole_body
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.protocol import versions
from dynamic_mcp.protocol.era import MODERN
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http.client import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.http.reply import HttpReply

INITIALIZED = "notifications/initialized"
SESSION, VERSION = "Mcp-Session-Id", "MCP-Protocol-Version"
LATEST_LEGACY = "2025-11-25"


@mutant("HTTP-001", also={"SSE-002": "the endpoint loses its query too"})
def drops_the_query_of_the_url() -> None:
    def wrong(request: ProxyRequest) -> None:
        request.url = request.url.partition("?")[0]

    wire_http.change_requests(wrong)


@mutant("HTTP-001")
def accepts_only_json() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.method == "POST":
            request.headers["Accept"] = "application/json"

    wire_http.change_requests(wrong)


@mutant("HTTP-034")
def calls_its_messages_text() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.method == "POST":
            request.headers["Content-Type"] = "text/plain"

    wire_http.change_requests(wrong)


@mutant("HTTP-001", also=dict.fromkeys(("HTTP-006", "HTTP-007"), "servers refuse the array"))
def repeats_a_notification_in_an_array() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            yield reply
        if request.method == "POST" and "id" not in request.message:
            request.body = b"[" + (request.body or b"") + b"]"
            async with send(request):
                pass

    wire_http.around_requests(wrong)


@mutant("HTTP-006", also={"HTTP-012": "each session has to be initialized"})
def never_says_initialized() -> None:
    wire_http.drop_notifications(INITIALIZED)


@mutant("HTTP-006")
def wants_json_in_a_confirmation_with_200() -> None:
    """The proxy parses the empty body and gives up."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            if request.rpc == INITIALIZED and reply.status == 200:
                try:
                    msgspec.json.decode(await whole_body(reply))
                except msgspec.DecodeError:
                    raise UpstreamFailed("its confirmation is not JSON") from None
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-006", also={"HTTP-012": "each session has to be initialized once"})
def says_initialized_twice() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.rpc == INITIALIZED:
            async with send(request):
                pass
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


#: the other requirements whose checks have a server with sessions
_WANT_A_SESSION = (
    "HTTP-006",
    "HTTP-009",
    "HTTP-010",
    "HTTP-020",
    "HTTP-021",
    "HTTP-050",
    "HTTP-051",
    "HTTP-071",
    "HTTP-072",
    "OPS-050",
)


@mutant(
    "HTTP-007",
    also=dict.fromkeys(_WANT_A_SESSION, "its server wants the session from the start"),
)
def carries_the_session_only_after_the_first_listing() -> None:
    listed: set[object] = set()

    def wrong(request: ProxyRequest) -> None:
        if request.client not in listed:
            request.headers.pop(SESSION, None)
        if request.rpc == "tools/list":
            listed.add(request.client)

    wire_http.change_requests(wrong)


def _is_aside(request: ProxyRequest) -> bool:
    """Whether this is a cancellation, or the answer to a question of a server."""
    is_answer = bool(request.message) and "method" not in request.message
    return request.method == "POST" and (is_answer or request.rpc == "notifications/cancelled")


@mutant("HTTP-007", also={"HTTP-072": "no answer reaches the session"})
def answers_and_cancels_without_the_session() -> None:
    def wrong(request: ProxyRequest) -> None:
        if _is_aside(request):
            request.headers.pop(SESSION, None)

    wire_http.change_requests(wrong)


@mutant(
    "HTTP-007",
    also=dict.fromkeys(_WANT_A_SESSION, "its server knows the session as it wrote it"),
)
def writes_the_session_in_lower_case() -> None:
    def wrong(request: ProxyRequest) -> None:
        if SESSION in request.headers:
            request.headers[SESSION] = request.headers[SESSION].lower()

    wire_http.change_requests(wrong)


@mutant(
    "HTTP-008",
    also={
        "HTTP-009": "no session is the one that its server forgets",
        "HTTP-050": "its servers do not know the session",
        "HTTP-023": "there are no sessions in the modern era",
    },
)
def invents_a_session() -> None:
    """dmcp 1.5.0 behaves like this: it sends a UUID."""
    wire_http.change_requests(lambda request: request.headers.setdefault(SESSION, str(uuid.uuid4())))


@mutant("HTTP-011")
def names_no_version_to_a_server_of_the_legacy_era() -> None:
    def wrong(request: ProxyRequest) -> None:
        if "Mcp-Method" not in request.headers:
            request.headers.pop(VERSION, None)

    wire_http.change_requests(wrong)


@mutant("HTTP-011", also={"HTTP-033": "these requests name no version"})
def answers_cancels_and_leaves_without_a_version() -> None:
    def wrong(request: ProxyRequest) -> None:
        if _is_aside(request) or request.method == "DELETE":
            request.headers.pop(VERSION, None)

    wire_http.change_requests(wrong)


@mutant("OAUTH-024", also={"SSE-004": "these POSTs have no token"})
def answers_and_cancels_without_the_bearer() -> None:
    def wrong(request: ProxyRequest) -> None:
        if _is_aside(request):
            request.headers.pop("Authorization", None)

    wire_http.change_requests(wrong)


@mutant("HTTP-033")
def always_sends_the_same_version() -> None:
    _always_send("2024-11-05")


@mutant("HTTP-033")
def sends_the_version_that_it_offered() -> None:
    _always_send(LATEST_LEGACY)


def _always_send(version: str) -> None:
    """In the legacy era."""

    def wrong(request: ProxyRequest) -> None:
        if request.headers.get(VERSION) != MODERN:
            request.headers[VERSION] = version

    wire_http.change_requests(wrong)


@mutant("HTTP-012")
def initializes_again_with_the_version_of_the_answer() -> None:
    """dmcp 1.5.0 behaves like this."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            if request.rpc != "initialize":
                yield reply
                return
            version, chunks = await _version_in(reply)
            if version == LATEST_LEGACY:
                yield Reply(reply, chunks=chunks)
                return
        params = {**request.message["params"], "protocolVersion": version}
        request.body = msgspec.json.encode({**request.message, "params": params})
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


async def _version_in(reply: HttpReply) -> tuple[str, AsyncIterator[bytes]]:
    """The version in an answer to ``initialize``, and the chunks of the answer."""
    body, chunks = b"", reply.chunks()
    async for chunk in chunks:
        body += chunk
        if found := re.search(rb'"protocolVersion":\s*"([^"]+)"', body):
            return found[1].decode(), joined(body, chunks)
    return LATEST_LEGACY, joined(body, chunks)


@mutant("HTTP-032")
def takes_any_version() -> None:
    """For example 1999-01-01."""
    known = (*versions.LEGACY_VERSIONS, "1999-01-01")
    of_servers = SimpleNamespace(LATEST_LEGACY=versions.LATEST_LEGACY, LEGACY_VERSIONS=known)
    vars(handshake)["versions"] = of_servers


@mutant(
    "HTTP-013",
    also=dict.fromkeys(("CFG-011", "HTTP-052", "SSE-015"), "its server gets a configured header"),
)
def sends_the_configured_headers_once() -> None:
    sent: set[object] = set()

    def wrong(request: ProxyRequest) -> None:
        if request.client in sent:
            drop_configured_headers(request)
        sent.add(request.client)

    wire_http.change_requests(wrong)


@mutant("HTTP-013")
def prefers_its_own_user_agent() -> None:
    """A default of the HTTP library wins over the configured value."""
    wire_http.change_requests(lambda request: request.headers.update({"User-Agent": "dynamic-mcp"}))


#: the requirements whose checks need a server behind a URL, by family
_NEED_A_URL: dict[str, Iterable[int]] = {
    "HTTP": (*range(1, 14), *range(15, 24), 30, 40, *range(50, 58), 61, 62, 63),
    "OAUTH": (1, 3, 4, 8, 12, 14, 16, 17, 18, 19, 20, 24, 73, 74, 75, 90),
    "CFG": (11, 15, 31, 50),
    "FRONT": (63, 132, 133, 164),
    "OPS": (16, 50),
    "SSE": (2, 4),
    "TOK": (1, 2),
}


@mutant(
    "HTTP-014",
    also={
        f"{family}-{number:03}": "the servers of the checks have no TLS"
        for family, numbers in _NEED_A_URL.items()
        for number in numbers
    },
)
def refuses_plain_http() -> None:
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        if not self.url.startswith("https:"):
            raise UpstreamFailed("its address is not one of TLS")
        await right(self)

    replace(right, wrong)


FIRST_MESSAGES = ("server/discover", "initialize")


@mutant("HTTP-015")
def never_tries_the_older_transport() -> None:
    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        # The proxy knows no special meaning of 410.
        is_refusal = request.rpc in FIRST_MESSAGES and reply.status in (400, 404, 405)
        return Reply(reply, status=410) if is_refusal else reply

    wire_http.change_replies(wrong)


@mutant("HTTP-015")
def tries_the_older_transport_after_any_status() -> None:
    """For example after 401 or 500."""

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        is_refusal = request.rpc in FIRST_MESSAGES and reply.status >= 300
        return Reply(reply, status=405) if is_refusal else reply

    wire_http.change_replies(wrong)
