"""The headers that repeat parts of a modern message (MCP 2026-07-28, basic/transports/streamable-http, "Request Metadata")."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.era import RequestMeta
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.wording import cut

if TYPE_CHECKING:
    from starlette.datastructures import Headers

_ENCODED = re.compile(r"=\?base64\?(.*)\?=")
_PRINTABLE = re.compile(r"[\t\x20-\x7e]*")


def check_mirrored(headers: Headers, message: Message, meta: RequestMeta | None) -> None:
    """Raises RefusedRequest if a header is missing, or contradicts the message. ``meta`` is that of the message."""
    expected = {"Mcp-Method": message.method}
    if meta is not None:
        expected = {era.VERSION_HEADER: meta.version, **expected}
    if (member := era.NAME_MEMBERS.get(message.method or "")) is not None and message.id:
        name = _text_in(message.params, member)
        # The answer to a request without its name says what is missing.
        if name is not None:
            expected["Mcp-Name"] = name
    for header, value in expected.items():
        sent = headers.getlist(header)
        if len(sent) != 1 or _decoded(sent[0]) != value:
            shown = cut(sent[0]) if len(sent) == 1 else ("missing" if not sent else "there more than once")
            text = f"Header mismatch: {header} is {shown}, and the message says {cut(value or '')}"
            id = bytes(message.id) or jsonrpc.NULL
            raise RefusedRequest(400, text, era.HEADER_MISMATCH, id=id)


def _decoded(value: str) -> str | None:
    """The text of a header value; None if it is invalid."""
    value = value.strip(" \t")
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value if _PRINTABLE.fullmatch(value) else None
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _text_in(params: Raw, member: str) -> str | None:
    try:
        members = jsonrpc.decode_members(params or b"{}")
        return msgspec.json.decode(members[member], type=str) if member in members else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
