"""Refusals of HTTP requests, and other responses at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

if TYPE_CHECKING:
    from starlette.types import Send

#: MCP 2026-07-28, schema, ``MissingRequiredClientCapabilityError``.
_MISSING_CAPABILITY = -32021
#: HTTP statuses of JSON-RPC errors in the modern era; other errors have status 200 (MCP 2026-07-28, basic/transports/streamable-http).
MODERN_STATUS = {
    METHOD_NOT_FOUND: 404,
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    era.HEADER_MISMATCH: 400,
    _MISSING_CAPABILITY: 400,
    era.UNSUPPORTED_VERSION: 400,
}


class RefusedRequest(Exception):
    """The response to a request that the proxy refuses: a status, and a JSON-RPC error that says why."""

    def __init__(
        self,
        status: int,
        text: str,
        code: int = INVALID_REQUEST,
        *,
        id: bytes = jsonrpc.NULL,
        data: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.body = jsonrpc.error(id, jsonrpc.error_object(code, text, data))
        self.headers = {**(headers or {})}


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a whole response."""
    fields = dict(headers or {})
    if status != 204:
        fields["Content-Length"] = str(len(body))
    if body:
        fields["Content-Type"] = "application/json"
    await start(send, status, fields)
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send the head of a response."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
