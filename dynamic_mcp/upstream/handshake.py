"""How a connection begins: find the era of the upstream, agree on a version.

The probe is ``server/discover`` (MCP 2026-07-28, stdio, Backward Compatibility): a discover result means modern, anything else, silence
included, means the ``initialize`` handshake on the same connection. The probe has a short budget of its own so that a
silent legacy server still fits into the connection budget.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from dynamic_mcp import __version__
from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.base import Handshake

#: Seconds that an upstream may take to answer the probe.
PROBE_BUDGET = 2.0

_CLIENT_INFO = {"name": "dynamic-mcp", "version": __version__}

#: The ``_meta`` members that every request to a modern upstream carries.
MODERN_STAMP: dict[str, object] = {
    era.PROTOCOL_VERSION: era.MODERN,
    era.CLIENT_INFO: _CLIENT_INFO,
    era.CLIENT_CAPABILITIES: {},
}

_RAW_STAMP = {name: Raw(msgspec.json.encode(value)) for name, value in MODERN_STAMP.items()}


async def probe(peer: Peer) -> Handshake | None:
    """Ask a modern upstream to introduce itself; None means that it is a legacy one."""
    params = msgspec.json.encode({"_meta": MODERN_STAMP})
    try:
        answer = await peer.request("server/discover", params, PROBE_BUDGET)
        found = msgspec.json.decode(answer, type=Handshake)
    except (UpstreamRefused, UpstreamTimeout, msgspec.DecodeError):
        return None
    return found if era.MODERN in found.supported else None


async def initialize(peer: Peer, timeout: float) -> Handshake:
    """The legacy handshake. Raises UpstreamError when the upstream refuses, or offers a version that is not known here."""
    params = {"protocolVersion": era.LATEST_LEGACY, "capabilities": {}, "clientInfo": _CLIENT_INFO}
    answer = await peer.request("initialize", msgspec.json.encode(params), timeout)
    try:
        agreed = msgspec.json.decode(answer, type=Handshake)
    except msgspec.DecodeError:
        raise UpstreamFailed("its answer to initialize is not an initialize result") from None
    if agreed.version not in era.LEGACY_VERSIONS:
        raise UpstreamFailed(
            f"it offers protocol version {agreed.version[:20]!r}, which is not supported here"
        )
    peer.notify("notifications/initialized")
    return agreed


def stamped(params: bytes) -> bytes:
    """``params`` with the ``_meta`` that a modern upstream demands, beside what ``_meta`` holds already."""
    members = msgspec.json.decode(params or b"{}", type=dict[str, Raw])
    meta = msgspec.json.decode(members.get("_meta", Raw(b"{}")), type=dict[str, Raw])
    members["_meta"] = Raw(msgspec.json.encode({**meta, **_RAW_STAMP}))
    return msgspec.json.encode(members)
