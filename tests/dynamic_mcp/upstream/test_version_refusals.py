"""What the proxy offers to a server that refuses the newest version of the legacy handshake."""

from __future__ import annotations

import json
from typing import Any, cast

import anyio
import pytest

from dynamic_mcp.errors import (
    HttpStatus,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
    UpstreamRefused,
    UpstreamTimeout,
)
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Handshake

NEWEST, OLDEST = "2025-11-25", "2024-11-05"


class Picky:
    """A server that refuses each version but one."""

    def __init__(self, refusal: UpstreamError, takes: str = "", then: UpstreamError | None = None) -> None:
        """``then`` is what follows after the first refusal."""
        self.offered: list[str] = []
        self.timeouts: list[float] = []
        self._refusal = refusal
        self._takes = takes
        self._then = then or refusal

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        version = json.loads(params)["protocolVersion"]
        self.offered.append(version)
        self.timeouts.append(options.timeout or 0.0)
        if version != self._takes:
            raise self._refusal if len(self.offered) == 1 else self._then
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


@pytest.mark.parametrize("refusal", [refused(), bad_request("Unsupported protocol version")])
@pytest.mark.parametrize("then", [UpstreamGone("the server process ended"), UpstreamTimeout("no answer")])
async def test_words_of_the_refusal_stay_if_no_other_answer_comes(
    refusal: UpstreamError, then: UpstreamError
) -> None:
    with pytest.raises(handshake.OlderNotTaken) as caught:
        await initialize(Picky(refusal, then=then))
    assert caught.value.last_output == "Unsupported protocol version"
    assert str(caught.value).endswith(f"; with protocol version {OLDEST}, {then}")
    assert caught.value.version == OLDEST
    assert caught.value.has_ended == isinstance(then, UpstreamGone)


async def test_second_offer_ends_before_the_deadline_of_the_start() -> None:
    peer = Picky(refused(), takes=OLDEST)
    with anyio.fail_after(0.5):
        await initialize(peer)
    assert peer.timeouts[0] == 1.0
    assert peer.timeouts[1] < 0.5


async def test_the_only_version_is_followed_by_no_other() -> None:
    peer = Picky(refused(data={"supported": ["2025-03-26"]}))
    with pytest.raises(UpstreamFailed):
        await handshake.initialize(cast("Peer", peer), 1.0, b"{}", only=OLDEST)
    assert peer.offered == [OLDEST]


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
