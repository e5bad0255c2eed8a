"""Answers of the client to requests of servers, and params of its own requests, without optional members that are null.

The schemas of MCP do not allow them, and servers with an official SDK refuse the whole message. Values in the content of an answer stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.protocol.pieces import LARGE

_ROOTS = "roots/list"
#: The optional members of each answer.
_OPTIONAL = {
    "elicitation/create": ("content", "_meta"),
    "sampling/createMessage": ("stopReason", "_meta"),
    _ROOTS: ("_meta",),
}
_OPTIONAL_OF_A_ROOT = ("name", "_meta")

_decode_entries = msgspec.json.Decoder(list[Raw]).decode


def valid_answer(method: str, result: bytes) -> bytes:
    """The result for a server. A large one, and one of another form, stays as it is."""
    optional = _OPTIONAL.get(method)
    if optional is None or NULL not in result or len(result) > LARGE:
        return result
    try:
        members = given(decode_members(result), *optional)
        if method == _ROOTS and "roots" in members:
            roots = [
                given(decode_members(raw), *_OPTIONAL_OF_A_ROOT) for raw in _decode_entries(members["roots"])
            ]
            return msgspec.json.encode({**members, "roots": roots})
    except msgspec.DecodeError:
        return result
    return msgspec.json.encode(members)


def given(members: Mapping[str, Raw], *optional: str) -> dict[str, Raw]:
    """The members without the optional ones that are null."""
    return {name: raw for name, raw in members.items() if name not in optional or bytes(raw) != NULL}
