"""The two eras of MCP, decided per request.

Legacy: the ``initialize`` handshake of 2024-11-05 to 2025-11-25. Modern: 2026-07-28, stateless; each request carries its protocol
version and the client's capabilities in ``params._meta`` (MCP 2026-07-28, basic, ``_meta``). One process serves both, in any
order, so nothing here remembers anything.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST_LEGACY = LEGACY_VERSIONS[-1]
MODERN = "2026-07-28"
KNOWN = frozenset({*LEGACY_VERSIONS, MODERN})

UNSUPPORTED_VERSION = -32022

PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"

#: ``_meta`` keys that belong to one hop: an upstream gets its own, never those of our client.
HOP_KEYS = frozenset({PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, "io.modelcontextprotocol/logLevel"})

_MARK = PROTOCOL_VERSION.encode()


class _Meta(msgspec.Struct):
    version: Raw = msgspec.field(name=PROTOCOL_VERSION, default=Raw(b""))
    capabilities: Raw = msgspec.field(name=CLIENT_CAPABILITIES, default=Raw(b""))


class _Params(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


_decode_params = msgspec.json.Decoder(_Params).decode


class Stamp(msgspec.Struct, frozen=True):
    """What a modern request says of itself."""

    version: str
    has_capabilities: bool


def stamp_of(params: Raw) -> Stamp | None:
    """The stamp of a modern request, or None for a legacy one."""
    text = bytes(params)
    # A key with a backslash in it may be the mark in another spelling: some encoders write "\/" for every slash.
    if _MARK not in text and b"\\" not in text:
        return None
    try:
        meta = _decode_params(params).meta
    except msgspec.DecodeError:
        return None
    if not meta.version:
        return None
    try:
        version = msgspec.json.decode(meta.version, type=str)
    except msgspec.ValidationError:
        version = bytes(meta.version).decode()
    return Stamp(version, bytes(meta.capabilities)[:1] == b"{")


def with_members(value: bytes, **members: bytes) -> bytes:
    """The JSON object ``value`` with ``members`` added where it does not have them; its own members stay as they are."""
    own = msgspec.json.decode(value, type=dict[str, Raw])
    added = {name: Raw(raw) for name, raw in members.items() if name not in own}
    return msgspec.json.encode({**own, **added}) if added else value
