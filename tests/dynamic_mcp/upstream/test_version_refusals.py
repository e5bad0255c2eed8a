"""What the proxy offers to a server that refuses the newest version of the legacy handshake."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from dynamic_mcp.errors import HttpStatus, UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Handshake

NEWEST, OLDEST = "2025-11-25", "2024-11-05"


class Picky:
    """A server that refuses each version but one."""

    def __init__(self, refusal: UpstreamError, takes: str = "") -> None:
        self.offered: list[str] = []
        self._refusal = refusal
        self._takes = takes

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        version = json.loads(params)["protocolVersion"]
        self.offered.append(version)
        if version != self._takes:
            raise self._refusal
        return json.dumps({"protocolVersion": version, "capabilities": {}}).encode()


def refused(
    code: int = -32602, message: str = "Unsupported protocol version", data: Any = None
) -> UpstreamRefused:
    return UpstreamRefused(json.dumps({"code": code, "message": message, "data": data}).encode())


def bad_request(text: str, status: int = 400) -> HttpStatus:
    return HttpStatus("HTTP 400", text, status=status)


async def initialize(peer: Picky) -> Handshake:
    return await handshake.initialize(cast("Peer", peer), 1.0, b"{}")


@pytest.mark.parametrize(
    ("refusal", "offered"),
    [
        (refused(data={"supported": [OLDEST], "requested": NEWEST}), OLDEST),
        (refused(data={"supportedVersions": ["2025-03-26", "2025-06-18", OLDEST]}), "2025-06-18"),
        (refused(data={"code": "INCOMPATIBLE", "expected": "2025-06-18"}), "2025-06-18"),
        (refused(message="Unsupported protocol version: 2025-11-25. Supported: 2025-03-26"), "2025-03-26"),
        (refused(-32022, data={"supported": ["2025-06-18"], "requested": NEWEST}), "2025-06-18"),
        (refused(message="Unsupported protocolVersion 2025-11-25"), OLDEST),
        (refused(-32600), OLDEST),
        (bad_request("Bad Request: supported versions: 2025-06-18, 2025-03-26"), "2025-06-18"),
    ],
)
async def test_a_refused_version_is_followed_by_one_that_the_server_names(
    refusal: UpstreamError, offered: str
) -> None:
    peer = Picky(refusal, takes=offered)
    agreed = await initialize(peer)
    assert peer.offered == [NEWEST, offered]
    assert agreed.version == offered


async def test_only_one_other_version_is_offered() -> None:
    peer = Picky(refused(data={"supported": [OLDEST, "2025-03-26"]}))
    with pytest.raises(UpstreamFailed):
        await initialize(peer)
    assert peer.offered == [NEWEST, "2025-03-26"]


@pytest.mark.parametrize(
    "refusal",
    [
        refused(-32603, "the database is down"),
        # The bound of what is read cuts a character.
        UpstreamRefused(b'{"code": 10, "message": "' + "é".encode() * handshake.MAX_HANDSHAKE + b'"}'),
        refused(-32022, data={"supported": ["2026-07-28"], "requested": NEWEST}),
        refused(-32022, data={"supported": [OLDEST, "2026-07-28"], "requested": NEWEST}),
        refused(-32601, "Method not found: initialize with protocol version 2025-11-25"),
        bad_request("no such tenant"),
        bad_request("protocol version 2024-11-05", status=503),
    ],
)
async def test_another_refusal_is_the_result(refusal: UpstreamError) -> None:
    peer = Picky(refusal)
    with pytest.raises(UpstreamFailed):
        await initialize(peer)
    assert peer.offered == [NEWEST]
