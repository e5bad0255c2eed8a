"""The two eras of MCP, decided per request.

Legacy: the ``initialize`` handshake of 2024-11-05 to 2025-11-25. Modern: 2026-07-28, stateless; each request carries its protocol
version and the client's capabilities in ``params._meta`` (MCP 2026-07-28, basic, ``_meta``). One process serves both eras, in any
order, so this module keeps no state.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.versions import LEGACY_VERSIONS

MODERN = "2026-07-28"
KNOWN = frozenset({*LEGACY_VERSIONS, MODERN})

#: The headers of Streamable HTTP for the protocol version, and for the id of a legacy session.
VERSION_HEADER = "MCP-Protocol-Version"
SESSION_HEADER = "Mcp-Session-Id"

UNSUPPORTED_VERSION = -32022
HEADER_MISMATCH = -32020

PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"

#: ``_meta`` keys that belong to one hop: the proxy sends its own to an upstream, never those of its client.
HOP_KEYS = frozenset({PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL})

#: The member of params that the ``Mcp-Name`` header repeats (MCP 2026-07-28, basic/transports/streamable-http, "Request Metadata").
NAME_MEMBERS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

_VERSION_KEY = PROTOCOL_VERSION.encode()


class _Meta(msgspec.Struct):
    version: Raw = msgspec.field(name=PROTOCOL_VERSION, default=Raw(b""))
    capabilities: Raw = msgspec.field(name=CLIENT_CAPABILITIES, default=Raw(b""))
    log_level: Raw = msgspec.field(name=LOG_LEVEL, default=Raw(b""))
    client_info: Raw = msgspec.field(name=CLIENT_INFO, default=Raw(b""))


class _Params(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


_decode_params = msgspec.json.Decoder(_Params).decode


class RequestMeta(msgspec.Struct, frozen=True):
    """What a modern request carries in ``_meta``."""

    version: str
    #: the JSON object of the client's capabilities; None where the request has none
    capabilities: bytes | None
    log_level: str | None = None
    #: as the client wrote it; empty without one
    client_info: bytes = b""


def request_meta(params: Raw) -> RequestMeta | None:
    """The metadata of a modern request, or None for a legacy one."""
    text = bytes(params)
    # A key with a backslash in it may be the version key in another spelling: some encoders write "\/" for every slash.
    if _VERSION_KEY not in text and b"\\" not in text:
        return None
    try:
        meta = _decode_params(params).meta
    except msgspec.DecodeError:
        return None
    if not meta.version:
        return None
    version, capabilities = _text(meta.version), bytes(meta.capabilities)
    return RequestMeta(
        bytes(meta.version).decode() if version is None else version,
        capabilities if capabilities[:1] == b"{" else None,
        _text(meta.log_level),
        bytes(meta.client_info),
    )


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None
