"""Mistakes in what is sent to upstreams that speak Streamable HTTP."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.protocol import versions
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http import client, detect, streamable
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamic_mcp.protocol.jsonrpc import Message
    from dynamic_mcp.protocol.peer import Peer

SESSION = "Mcp-Session-Id"


@mutant("HTTP-001")
def drops_the_query_of_the_url() -> None:
    right = HttpClient.__init__

    def wrong(self: HttpClient, url: str, *more: Any, **named: Any) -> None:
        right(self, url.partition("?")[0], *more, **named)

    replace(right, wrong)


@mutant("HTTP-001")
def accepts_only_json() -> None:
    streamable._ACCEPT = "application/json"


@mutant("HTTP-001", also=dict.fromkeys(("HTTP-006", "HTTP-007"), "servers refuse the array"))
def repeats_a_notification_in_an_array() -> None:
    right = StreamableHttpUpstream._post_notification

    async def wrong(self: StreamableHttpUpstream, line: bytes, message: Message) -> None:
        await right(self, line, message)
        headers = self._headers(message)
        async with self._web.request("POST", headers, b"[" + line.rstrip() + b"]"):
            pass

    replace(right, wrong)


@mutant("HTTP-006")
def never_says_initialized() -> None:
    right = StreamableHttpUpstream._post_notification

    async def wrong(self: StreamableHttpUpstream, line: bytes, message: Message) -> None:
        if handshake.INITIALIZED.encode() not in line:
            await right(self, line, message)

    replace(right, wrong)


@mutant("HTTP-006")
def wants_json_in_a_confirmation_with_200() -> None:
    async def wrong(self: StreamableHttpUpstream, line: bytes, message: Message) -> None:
        headers = self._headers(message)
        async with self._web.request("POST", headers, line.rstrip()) as reply:
            if reply.status != 200:
                return
            try:
                msgspec.json.decode(await reply.body(1 << 20))
            except msgspec.DecodeError:
                raise UpstreamFailed("its confirmation is not JSON") from None

    replace(StreamableHttpUpstream._post_notification, wrong)


@mutant("HTTP-006")
def says_initialized_twice() -> None:
    right = StreamableHttpUpstream._post_notification

    async def wrong(self: StreamableHttpUpstream, line: bytes, message: Message) -> None:
        await right(self, line, message)
        if handshake.INITIALIZED.encode() in line:
            await right(self, line, message)

    replace(right, wrong)


@mutant(
    "HTTP-007",
    also=dict.fromkeys(("HTTP-009", "HTTP-010", "HTTP-020"), "its server wants the session from the start"),
)
def carries_the_session_only_after_the_first_listing() -> None:
    listed: set[StreamableHttpUpstream] = set()
    right = StreamableHttpUpstream._headers

    def wrong(self: StreamableHttpUpstream, message: Message) -> dict[str, str]:
        headers = right(self, message)
        if self not in listed:
            headers.pop(SESSION, None)
        if message.method == "tools/list":
            listed.add(self)
        return headers

    replace(right, wrong)


@mutant(
    "HTTP-007",
    also=dict.fromkeys(("HTTP-009", "HTTP-010", "HTTP-020"), "its server knows the session as it wrote it"),
)
def writes_the_session_in_lower_case() -> None:
    _change_session_headers(
        lambda headers: {name: value.lower() if name == SESSION else value for name, value in headers.items()}
    )


@mutant(
    "HTTP-008",
    also={
        "HTTP-009": "no session is the one that its server forgets",
        "HTTP-023": "there are no sessions in the modern era",
    },
)
def invents_a_session() -> None:
    _change_session_headers(lambda headers: {SESSION: str(uuid.uuid4()), **headers})


@mutant("HTTP-011", also=dict.fromkeys(("HTTP-022", "HTTP-023"), "a modern server wants its own"))
def always_sends_the_same_version() -> None:
    _change_session_headers(lambda headers: {**headers, "MCP-Protocol-Version": "2024-11-05"})


@mutant("HTTP-011", also=dict.fromkeys(("HTTP-022", "HTTP-023"), "a modern server wants its own"))
def sends_the_version_that_it_offered() -> None:
    _change_session_headers(lambda headers: {**headers, "MCP-Protocol-Version": versions.LATEST_LEGACY})


@mutant("HTTP-012", also={"HTTP-011": "the second handshake has another version than the first"})
def initializes_again_with_the_version_of_the_answer() -> None:
    right = handshake.initialize

    async def wrong(peer: Peer, timeout: float, capabilities: bytes) -> Any:
        agreed = await right(peer, timeout, capabilities)
        return (
            agreed if agreed.version == versions.LATEST_LEGACY else await right(peer, timeout, capabilities)
        )

    replace(right, wrong)


@mutant("HTTP-012")
def takes_any_version() -> None:
    versions.LEGACY_VERSIONS = (*versions.LEGACY_VERSIONS, "1999-01-01")  # type: ignore[assignment]  # it is a constant


@mutant("HTTP-013")
def sends_the_configured_headers_once() -> None:
    right = HttpClient._send

    async def wrong(self: HttpClient, *request: Any) -> Any:
        response = await right(self, *request)
        self._headers = {}
        return response

    replace(right, wrong)


@mutant("HTTP-013")
def prefers_its_own_user_agent() -> None:
    right = client._merged

    def wrong(own: Mapping[str, str], *others: Mapping[str, str]) -> dict[str, str]:
        return right(*others, own)

    replace(right, wrong)


@mutant(
    "HTTP-014",
    also={
        f"HTTP-{number:03}": "the servers of the checks have no TLS"
        for number in range(1, 24)
        if number != 14
    },
)
def refuses_plain_http() -> None:
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        if not self.url.startswith("https:"):
            raise UpstreamFailed("its address is not one of TLS")
        await right(self)

    replace(right, wrong)


@mutant("HTTP-015")
def never_tries_the_older_transport() -> None:
    detect._NOT_STREAMABLE = frozenset()


@mutant("HTTP-015")
def tries_the_older_transport_after_any_status() -> None:
    detect._NOT_STREAMABLE = frozenset(range(300, 600))


def _change_session_headers(change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    right = StreamableHttpUpstream._session_headers
    replace(right, lambda self: change(right(self)))
