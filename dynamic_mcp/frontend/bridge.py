"""Translates results and errors between the eras.

A modern result has a ``resultType``, and that of a cacheable method says how long a client may cache it. A legacy client gets results
without these members. What an upstream wrote itself stays.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.tool_surface import INFO
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import decode_members

#: An error code of the legacy revisions that 2026-07-28 must not use, as ``jsonrpc.RESOURCE_NOT_FOUND``.
URL_ELICITATION_REQUIRED = -32042

_COMPLETE = Raw(b'"complete"')
_ENVELOPE = ("resultType", "ttlMs", "cacheScope")
#: The member of ``_meta`` with the names of the groups whose part of a list is missing.
MISSING = "dynamic-mcp/missing"
_OWN_META = Raw(msgspec.json.encode({era.SERVER_INFO: INFO}))

#: Methods whose results say how long a client may cache them (MCP 2026-07-28, server/utilities/caching).
_CACHEABLE = frozenset(
    {
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
    }
)

#: Members that may become objects, each of about 250 bytes. The number of colons is a bound of their number.
_MAX_MEMBERS = 500_000
#: The same for an error object that is translated.
_MAX_SMALL = 10_000
#: The largest error object in bytes that is translated.
_MAX_ERROR = 1 << 20


class _Envelope(msgspec.Struct, gc=False):
    """The members that the modern era adds to a result; absent ones are empty."""

    type: Raw = msgspec.field(name="resultType", default=Raw(b""))
    ttl: Raw = msgspec.field(name="ttlMs", default=Raw(b""))
    scope: Raw = msgspec.field(name="cacheScope", default=Raw(b""))
    meta: Raw = msgspec.field(name="_meta", default=Raw(b""))


class _Error(msgspec.Struct, gc=False):
    code: int


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def modern_result(method: str, result: bytes) -> bytes:
    """A result for a modern client (MCP 2026-07-28, basic, ResultType; server/utilities/caching).

    Raises UpstreamFailed for a result that is not an object.
    """
    try:
        own = _decode_envelope(result)
    except msgspec.DecodeError:
        raise UpstreamFailed(f"its result of {method} is not an object") from None
    added = {} if own.type else {"resultType": _COMPLETE}
    if method in _CACHEABLE:
        added |= {} if own.ttl else {"ttlMs": Raw(b"0")}
        added |= {} if own.scope else {"cacheScope": Raw(b'"private"')}
    added |= {} if own.meta else {"_meta": _OWN_META}
    if not added:
        return result
    # The members of the server stay bytes. A result of a million members would take thirty times its size as a dictionary.
    rest = result[result.index(b"{") + 1 :]
    comma = b"" if rest.lstrip()[:1] == b"}" else b","
    return b"".join((msgspec.json.encode(added)[:-1], comma, rest))


def meta_of_list(missing: Collection[str], *, modern: bool) -> bytes:
    """The first member of a list: its ``_meta`` with the groups that are missing; empty if none is."""
    if not missing:
        return b""
    own = {era.SERVER_INFO: INFO} if modern else {}
    return b'"_meta":%b,' % msgspec.json.encode({**own, MISSING: sorted(missing)})


def legacy_result(result: bytes) -> bytes:
    """A result for a legacy client. One that may have very many members stays: the members of the modern era do no harm."""
    if b'"resultType"' not in result:
        return result
    try:
        if not _decode_envelope(result).type or result.count(b":") > _MAX_MEMBERS:
            return result
        own = decode_members(result)
    except msgspec.DecodeError:
        return result
    return msgspec.json.encode({name: raw for name, raw in own.items() if name not in _ENVELOPE})


def modern_error(error: bytes) -> bytes:
    """An error object for a modern client, with the successors of the two codes that MCP 2026-07-28 removed."""
    if len(error) > _MAX_ERROR:
        return error
    try:
        code = msgspec.json.decode(error, type=_Error).code
    except msgspec.DecodeError:
        return error
    if code not in (jsonrpc.RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED) or error.count(b":") > _MAX_SMALL:
        return error
    members = decode_members(error)
    successor = jsonrpc.INVALID_PARAMS if code == jsonrpc.RESOURCE_NOT_FOUND else jsonrpc.INTERNAL_ERROR
    members["code"] = Raw(b"%d" % successor)
    return msgspec.json.encode(members)


def not_found_code(*, modern: bool) -> int:
    """The code for an unknown resource (MCP 2025-11-25 and MCP 2026-07-28, server/resources, "Error Handling")."""
    return jsonrpc.INVALID_PARAMS if modern else jsonrpc.RESOURCE_NOT_FOUND
