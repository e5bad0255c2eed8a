"""The client's description of itself (``clientInfo``), as the upstreams get it.

Some servers adapt to the client, so they see it and not the proxy. Its members go on as the client wrote them: name, version, title,
``websiteUrl``, icons, and any other. A strict server must not fail because of it. So it always has a name and a version, no known member
has a wrong type, and its size is bounded.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import decode_members

#: Bytes. Each request to a modern upstream carries the description, so pictures in it must not become expensive.
MAX_SIZE = 1 << 13
#: Characters of the name, the title and the version in a longer description; it loses everything else.
MAX_TEXT = 200
#: The version of a client that does not tell one.
NO_VERSION = "unknown"

_ESSENTIAL = ("name", "title", "version")


class _Icon(msgspec.Struct):
    src: str


_TYPES: dict[str, object] = {
    **dict.fromkeys((*_ESSENTIAL, "description", "websiteUrl"), str),
    "icons": list[_Icon],
}


def client_info(raw: bytes | Raw) -> bytes:
    """The description for the upstreams, a JSON object; empty if the client did not name itself."""
    if memoryview(raw).nbytes <= MAX_SIZE:
        return _of_usual_size(bytes(raw))
    members = _members(bytes(raw))
    texts = {
        name: msgspec.json.decode(members[name], type=str)[:MAX_TEXT]
        for name in _ESSENTIAL
        if name in members
    }
    return msgspec.json.encode(texts) if texts else b""


# A modern client sends the same description with each request.
@lru_cache(maxsize=4)
def _of_usual_size(raw: bytes) -> bytes:
    members = _members(raw)
    return msgspec.json.encode(members) if members else b""


def _members(raw: bytes) -> dict[str, Raw]:
    """The members of a description that strict servers accept; empty without a name."""
    try:
        members = {name: value for name, value in decode_members(raw).items() if _is_valid(name, value)}
    except msgspec.DecodeError:
        return {}
    if "name" not in members or bytes(members["name"]) == b'""':
        return {}
    members.setdefault("version", Raw(msgspec.json.encode(NO_VERSION)))
    return members


def _is_valid(name: str, value: Raw) -> bool:
    if (kind := _TYPES.get(name)) is None:
        return True
    try:
        msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError:
        return False
    return True
