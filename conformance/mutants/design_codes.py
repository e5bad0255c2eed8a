"""Legitimate designs: codes of errors that only SHOULD be others, ids of requests, one era for each connection, and modern results."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from conformance.mutants import legitimate, replace, wire, wire_http
from conformance.mutants.wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LISTS,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
)
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.http.reply import HttpReply

_NOT_FOUND = -32002


@legitimate(
    "FRONT-006",
    "FRONT-011",
    "FRONT-014",
    "FRONT-018",
    "FRONT-019",
    "FRONT-021",
    "FRONT-025",
    "FRONT-034",
    "FRONT-045",
    "FRONT-046",
)
def has_codes_of_its_own_for_failures() -> None:
    """All malformed input is an invalid request, and what the client asks for in vain is an internal error."""
    wire.to_client(wire.codes({PARSE_ERROR: INVALID_REQUEST}))
    in_vain = {INVALID_PARAMS: INTERNAL_ERROR, _NOT_FOUND: INTERNAL_ERROR}

    def other(message: wire.Message, way: wire.Way) -> wire.Changed:
        request = way.request_of(message)
        if wire.is_modern(request) or "error" not in message:
            return message
        code = message["error"]["code"]
        return {**message, "error": {**message["error"], "code": in_vain.get(code, code)}}

    def of_failures(message: wire.Message, way: wire.Way) -> wire.Changed:
        methods = (*LISTS, "prompts/get", "resources/read")
        return other(message, way) if way.method_of(message) in methods else message

    wire.to_client(of_failures)


@legitimate("FRONT-006", "FRONT-007", "FRONT-008", passes=("FRONT-046",))
def answers_requests_of_every_version_of_json_rpc() -> None:
    """JSON-RPC 2.0, section 3: "Most 2.0 implementations should consider trying to handle 1.0 objects"."""

    def newer(message: wire.Message, way: wire.Way) -> wire.Changed:
        is_request = isinstance(message.get("method"), str)
        return {**message, "jsonrpc": "2.0"} if is_request else message

    wire.from_client(newer)


@legitimate(
    "STD-015",
    "HTTP-001",
    "HTTP-002",
    "HTTP-003",
    "HTTP-004",
    "HTTP-005",
    "HTTP-016",
    "HTTP-018",
    "HTTP-019",
    "HTTP-020",
    "SSE-001",
    "SSE-003",
    "SSE-005",
    "OPS-016",
    "FRONT-020",
    "FRONT-023",
)
def sends_text_as_ids_to_all_servers() -> None:
    """Also to those behind a URL."""
    # Private, because the reference chooses its ids itself, and nothing public does it for all transports.
    request, claim, notify = jsonrpc.request, Peer._claim, Peer.notify

    def with_text(id: bytes, method: str, params: bytes) -> bytes:
        return request(b'"request-%b"' % id, method, params)

    def claim_text(self: Peer, id: bytes) -> Any:
        inner = id.removeprefix(b'"request-').removesuffix(b'"')
        return claim(self, inner)

    def notify_with_text(self: Peer, method: str, params: bytes = b"") -> None:
        if method == "notifications/cancelled":
            members = msgspec.json.decode(params)
            params = msgspec.json.encode({**members, "requestId": f"request-{members['requestId']}"})
        notify(self, method, params)

    def with_number(request: wire_http.ProxyRequest, reply: HttpReply) -> HttpReply:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in reply.chunks():
                yield re.sub(rb'"request-(\d+)"', rb"\1", chunk)

        return wire_http.Reply(reply, chunks=chunks())

    # Streamable HTTP compares the id of a reply before it reaches the peer.
    wire_http.change_replies(with_number)
    replace(request, with_text)
    replace(claim, claim_text)
    replace(notify, notify_with_text)


@legitimate(
    "FRONT-001",
    "FRONT-002",
    "FRONT-018",
    "FRONT-025",
    "FRONT-027",
    "FRONT-028",
    "FRONT-029",
    "FRONT-030",
    "FRONT-031",
    "FRONT-045",
    "FRONT-168",
    "FRONT-169",
)
def keeps_to_the_first_era_of_a_connection() -> None:
    """As the official SDKs do: `initialize` after a modern request is refused, and a modern request in a session too."""
    eras: dict[wire.Way, bool] = {}

    def wrong(message: wire.Message, way: wire.Way) -> wire.Changed:
        if "method" not in message or "id" not in message:
            return message
        modern = wire.is_modern(message)
        if not modern and message["method"] != "initialize":
            return message
        version = message["params"]["_meta"][wire.VERSION_KEY] if modern else "2026-07-28"
        if version != "2026-07-28" or eras.setdefault(way, modern) is modern:
            return message
        code, data = (INVALID_REQUEST, None) if modern else (UNSUPPORTED_VERSION, {"supported": [version]})
        text = "this connection is of the other era"
        error = {"code": code, "message": text, **({} if data is None else {"data": data})}
        way.back.send(wire.answer(message, error=error))
        return None

    wire.from_client(wrong)


@legitimate("FRONT-031", "FRONT-038", "FRONT-152", "FRONT-168")
def gives_its_modern_client_a_state_of_its_own() -> None:
    """It has the state of the server in other letters. A state means nothing to a client."""

    def hidden(message: wire.Message, way: wire.Way) -> wire.Changed:
        result = message.get("result")
        if not isinstance(result, dict) or "requestState" not in result:
            return message
        state = base64.b64encode(result["requestState"].encode()).decode()
        return {**message, "result": {**result, "requestState": state}}

    def shown(params: Any) -> Any:
        if "requestState" not in params:
            return params
        return {**params, "requestState": base64.b64decode(params["requestState"]).decode()}

    wire.to_client(hidden)
    wire.from_client(wire.params_of("tools/call", shown))


@legitimate("FRONT-029", "FRONT-027")
def lets_its_modern_client_cache_lists_for_a_minute() -> None:
    """It announces each change too."""
    methods = (*LISTS, "server/discover")

    def fresh(message: wire.Message, way: wire.Way) -> wire.Changed:
        result = message.get("result")
        if way.method_of(message) not in methods or not isinstance(result, dict) or "ttlMs" not in result:
            return message
        return {**message, "result": {**result, "ttlMs": 60_000}}

    wire.to_client(fresh)
