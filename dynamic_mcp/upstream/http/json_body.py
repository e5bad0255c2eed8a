"""The JSON in the body of a reply, for any Content-Type.

A byte order mark and a charset other than UTF-8 are read too, although RFC 8259, section 8.1, forbids both.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterable

import anyio

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.protocol import large
from dynamic_mcp.protocol.pieces import Large, Line, first_character
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.reply import HttpReply

#: Types of bodies that may hold JSON. Others are not read. PHP calls everything a page that names no other type.
_UNSPECIFIC = frozenset(
    {
        "",
        "text/plain",
        "text/html",
        "text/json",
        "text/x-json",
        "application/json-rpc",
        "application/jsonrequest",
        "application/x-json",
        "application/octet-stream",
    }
)
#: Names of codecs whose time grows with the length of the body. That of ``punycode`` grows with its square.
_LINEAR = re.compile(
    r"utf-.+|iso8859-.+|iso2022_.+|cp\d+|koi8-.|mac-.+|gb.+|big5.*|shift_jis.*|euc_.+|tis-620|hz"
)


class NoAnswer(UpstreamFailed):
    """A successful reply to a request has no message. The server may send the answer on its own stream."""


_FAULT = "the server is faulty, or its url is not that of an MCP server"


async def json_body(reply: HttpReply, max_size: int) -> Line:
    """The body as JSON in UTF-8; empty if its type says that it is none, or if a body of an unspecific type holds none.

    Raises TooLarge beyond ``max_size`` bytes, and UpstreamGone if the body breaks off. A reply that refuses the request raises neither,
    and has ``READ_TIME`` seconds. Its body is then empty, because the status says more than such a failure.
    """
    if reply.status < 300:
        return await _json_body(reply, max_size)
    with anyio.move_on_after(refusals.READ_TIME), contextlib.suppress(UpstreamFailed):
        return await _json_body(reply, max_size)
    return b""


async def _json_body(reply: HttpReply, max_size: int) -> Line:
    kind = reply.content_type
    is_json = kind == "application/json" or kind.endswith("+json")
    if not is_json and kind not in _UNSPECIFIC:
        return b""
    body = await reply.body(max_size)
    if isinstance(body, bytes | bytearray):
        body = _as_utf8(bytes(body), reply.charset)
    return body if is_json or first_character(body) in (b"{", b"[") else b""


def _as_utf8(body: bytes, charset: str) -> bytes:
    if body.startswith(codecs.BOM_UTF8):
        return body
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    elif not charset or charset in ("utf-8", "utf8", "us-ascii") or (_is_utf8(body) and b"\0" not in body):
        # Some servers name a charset by default, and send UTF-8.
        return body
    try:
        return body.decode(charset).encode() if _LINEAR.fullmatch(codecs.lookup(charset).name) else body
    except (LookupError, ValueError):
        return body


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def messages_in(body: Line) -> Iterable[Line]:
    """The messages of a body: one, or in MCP 2025-03-26 an array of them. Raises Malformed."""
    start = first_character(body)
    if start == b"[":
        return await large.elements_of_any(body)
    return [body] if start or isinstance(body, Large) else []


async def no_answer(reply: HttpReply, body: Line, problems: list[str]) -> UpstreamFailed:
    """Why a successful reply to a request is no answer to it, and what to do."""
    if not body:
        # A body of another type may not have been read.
        await reply.beginning_of_body()
    if problems:
        return UpstreamFailed(f"its answer cannot be read: {problems[-1]}; {_FAULT}")
    what = "is not the JSON-RPC answer to the request"
    if not reply.has_body:
        return NoAnswer(
            f"its answer ({reply.outline}) has no body, although the request needs an answer; {_FAULT}"
        )
    if not body:
        what = "is neither JSON nor an event stream"
    return UpstreamFailed(f"its answer ({reply.outline}) {what}; {_FAULT}")
