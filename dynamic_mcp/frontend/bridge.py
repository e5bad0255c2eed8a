"""Translates results and errors between the eras.

A modern result has a ``resultType``, and that of a cacheable method says how long a client may cache it. A legacy client gets results
without these members. What an upstream wrote itself stays.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.tool_surface import INFO
from dynamic_mcp.protocol import era, jsonrpc

#: Error codes of the handshake revisions that 2026-07-28 must not use: resource not found, URL elicitation required.
_RESOURCE_NOT_FOUND = -32002
URL_ELICITATION_REQUIRED = -32042

_COMPLETE = Raw(b'"complete"')
_UNCACHED = {"resultType": _COMPLETE, "ttlMs": Raw(b"0"), "cacheScope": Raw(b'"private"')}
_ENVELOPE = tuple(_UNCACHED)
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

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


def modern_result(method: str, result: bytes) -> bytes:
    """A result for a modern client (MCP 2026-07-28, basic, ResultType; server/utilities/caching).

    Raises UpstreamFailed for a result that is not an object.
    """
    try:
        own = _decode_members(result)
    except msgspec.DecodeError:
        raise UpstreamFailed(f"its result of {method} is not an object") from None
    added = _UNCACHED if method in _CACHEABLE else {"resultType": _COMPLETE}
    return msgspec.json.encode({**added, "_meta": _OWN_META, **own})


def legacy_result(result: bytes) -> bytes:
    """A result for a legacy client."""
    if b'"resultType"' not in result:
        return result
    try:
        own = _decode_members(result)
    except msgspec.DecodeError:
        return result
    if "resultType" not in own:
        return result
    return msgspec.json.encode({name: raw for name, raw in own.items() if name not in _ENVELOPE})


def modern_error(error: bytes) -> bytes:
    """An error object for a modern client, with the successors of the two codes that MCP 2026-07-28 removed."""
    try:
        members = _decode_members(error)
        code = msgspec.json.decode(members["code"], type=int)
    except (msgspec.DecodeError, KeyError):
        return error
    if code not in (_RESOURCE_NOT_FOUND, URL_ELICITATION_REQUIRED):
        return error
    successor = jsonrpc.INVALID_PARAMS if code == _RESOURCE_NOT_FOUND else jsonrpc.INTERNAL_ERROR
    members["code"] = Raw(b"%d" % successor)
    return msgspec.json.encode(members)


def not_found_code(*, modern: bool) -> int:
    """The code for an unknown resource (MCP 2025-11-25 and MCP 2026-07-28, server/resources, "Error Handling")."""
    return jsonrpc.INVALID_PARAMS if modern else _RESOURCE_NOT_FOUND
