"""Mistakes with upstreams of the modern era behind a URL."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace, wire_http
from conformance.mutants.wire import METHOD_NOT_FOUND, UNSUPPORTED_VERSION, decoded, is_modern
from conformance.mutants.wire_http import Reply, whole_body
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.upstream import handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.protocol.peer import Peer
    from dynamic_mcp.upstream.base import Handshake
    from dynamic_mcp.upstream.http.reply import HttpReply


_WANT_IT = dict.fromkeys(
    ("HTTP-023", "HTTP-060", "HTTP-061", "HTTP-062", "HTTP-063", "OAUTH-090"), "modern servers want it"
)


@mutant("HTTP-022", also=_WANT_IT)
def leaves_the_metadata_out_of_the_body() -> None:
    """Only the headers announce 2026-07-28."""

    def wrong(request: ProxyRequest) -> None:
        if is_modern(request.message) and request.rpc != "server/discover":
            params = {name: value for name, value in request.message["params"].items() if name != "_meta"}
            request.body = msgspec.json.encode({**request.message, "params": params})

    wire_http.change_requests(wrong)


@mutant("HTTP-022", also=_WANT_IT)
def leaves_the_metadata_out_of_every_body() -> None:
    """The probe lacks it too."""

    def wrong(request: ProxyRequest) -> None:
        if is_modern(request.message):
            params = {name: value for name, value in request.message["params"].items() if name != "_meta"}
            request.body = msgspec.json.encode({**request.message, "params": params})

    wire_http.change_requests(wrong)


@mutant("HTTP-022")
def names_no_resource_and_no_prompt_in_the_header() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.rpc in ("resources/read", "prompts/get"):
            request.headers.pop("Mcp-Name", None)

    wire_http.change_requests(wrong)


@mutant("HTTP-022")
def writes_names_raw_into_the_header() -> None:
    """The header is UTF-8."""

    def wrong(request: ProxyRequest) -> None:
        name = request.headers.get("Mcp-Name", "")
        if name.startswith("=?base64?"):
            encoded = name.removeprefix("=?base64?").removesuffix("?=")
            request.headers["Mcp-Name"] = base64.b64decode(encoded).decode()

    wire_http.change_requests(wrong)


@mutant("HTTP-023")
def initializes_after_a_rejected_version() -> None:
    """The proxy falls back to `initialize` at -32022."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            if request.rpc != "server/discover" or reply.content_type != "application/json":
                yield reply
                return
            body = await whole_body(reply)
            code = (decoded(body) or {}).get("error", {}).get("code")
            error = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
            refused = msgspec.json.encode({"jsonrpc": "2.0", "id": request.message["id"], "error": error})
            yield Reply(reply, chunks=_only(refused if code == UNSUPPORTED_VERSION else body))

    wire_http.around_requests(wrong)


async def _only(body: bytes) -> AsyncIterator[bytes]:
    yield body


@mutant("HTTP-023", also={"HTTP-022": "modern servers refuse it"})
def asks_a_modern_server_for_a_stream() -> None:
    """The proxy sends GET."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            yield reply
        if request.rpc == "server/discover" and reply.status == 200:
            async with send(request.get()):
                pass

    wire_http.around_requests(wrong)


@mutant("HTTP-063")
def takes_a_refusal_of_initialize_for_a_failure() -> None:
    right = handshake.initialize

    async def wrong(*arguments: Any) -> Handshake:
        try:
            return await right(*arguments)
        except handshake.SpeaksModern as refusal:
            raise UpstreamFailed(str(refusal)) from None

    replace(right, wrong)


@mutant("OAUTH-090")
def takes_a_demand_for_a_sign_in_for_the_legacy_era() -> None:
    """After the sign-in, `initialize` follows."""
    right = handshake.probe
    demands: list[SignInNeeded] = []

    async def wrong(peer: Peer, client_info: bytes = b"", timeout: float | None = None) -> Handshake | None:
        if demands:
            return None
        try:
            return await right(peer, client_info, timeout)
        except SignInNeeded as demand:
            demands.append(demand)
            raise

    replace(right, wrong)
