"""Results and errors in the form that each era wants them.

A modern result says what kind it is, and a listing or a content how long it may be kept; a client of the handshake gets the result
without that. What an upstream said itself stays.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.tool_surface import INFO
from dynamic_mcp.protocol import era, jsonrpc

#: Error codes of the handshake revisions that 2026-07-28 must not use: resource not found, URL elicitation required.
_RESOURCE_NOT_FOUND = -32002
_URL_ELICITATION_REQUIRED = -32042

_COMPLETE = Raw(b'"complete"')
_UNCACHED = {"resultType": _COMPLETE, "ttlMs": Raw(b"0"), "cacheScope": Raw(b'"private"')}
_ENVELOPE = tuple(_UNCACHED)
_OWN_META = Raw(msgspec.json.encode({era.SERVER_INFO: INFO}))

#: Methods whose results say how long they may be kept (MCP 2026-07-28, caching).
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
    """A result for a modern client (MCP 2026-07-28, basic, ResultType; caching)."""
    own = _decode_members(result)
    added = _UNCACHED if method in _CACHEABLE else {"resultType": _COMPLETE}
    return msgspec.json.encode({**added, "_meta": _OWN_META, **own})


def legacy_result(result: bytes) -> bytes:
    """A result for a client of the handshake, which knows no envelope."""
    if b'"resultType"' not in result:
        return result
    own = _decode_members(result)
    if "resultType" not in own:
        return result
    return msgspec.json.encode({name: raw for name, raw in own.items() if name not in _ENVELOPE})


def modern_error(error: bytes) -> bytes:
    """An error object for a modern client: the two codes that it must not see become those that took their place."""
    try:
        members = _decode_members(error)
        code = msgspec.json.decode(members["code"], type=int)
    except (msgspec.DecodeError, KeyError):
        return error
    if code not in (_RESOURCE_NOT_FOUND, _URL_ELICITATION_REQUIRED):
        return error
    stands_for = jsonrpc.INVALID_PARAMS if code == _RESOURCE_NOT_FOUND else jsonrpc.INTERNAL_ERROR
    members["code"] = Raw(b"%d" % stands_for)
    return msgspec.json.encode(members)


def not_found_code(*, modern: bool) -> int:
    """The code for a resource that nobody has (MCP resources, "Error Handling", per revision)."""
    return jsonrpc.INVALID_PARAMS if modern else _RESOURCE_NOT_FOUND
