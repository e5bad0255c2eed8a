"""A server behind a URL that is replaced by one of the other era, and refusals that only look like it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.errors import EraChanged, HeadersRefused, HttpStatus, UpstreamGone, UpstreamRefused
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from tests.dynamic_mcp.helpers import WITHIN
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, SESSION, Server, connected

#: What a server answers to a request of the other era, by its own era.
REFUSALS = {
    "modern": {
        "code": era.UNSUPPORTED_VERSION,
        "message": "Unsupported",
        "data": {"supported": [era.MODERN]},
    },
    "legacy": {"code": -32000, "message": "Bad Request: No valid session ID provided"},
}


@pytest.fixture(autouse=True)
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Changing(Server):
    """A server that can refuse calls as one of the other era does. After ``change`` it is one."""

    def __init__(self, *, modern: bool) -> None:
        super().__init__(modern=modern)
        self.refuses = False

    def change(self) -> None:
        self._modern = not self._modern
        self.refuses = True

    def by_default(self, request: Request) -> None:
        if self.refuses and request.rpc == CALL:
            name = "modern" if request.headers["mcp-protocol-version"] != era.MODERN else "legacy"
            self.refuse(request, REFUSALS[name])
        elif request.rpc == "server/discover" and not self._modern:
            self.refuse(request, REFUSALS["legacy"])
        else:
            super().by_default(request)

    def refuse(self, request: Request, error: dict[str, Any]) -> None:
        request.answer(400, {"jsonrpc": "2.0", "id": request.id, "error": error})


@pytest.mark.parametrize("modern", [False, True])
async def test_refusal_of_the_other_era_ends_the_connection(tmp_path: Path, modern: bool) -> None:
    server = Changing(modern=modern)
    probed = asyncio.Event()

    async def slowly(request: Request) -> None:
        if server.refuses:
            probed.set()
            await upstream.site.arrived(CALL, 4)
        server.by_default(request)

    async def hang(request: Request) -> None:
        if request.message["params"]["name"] == "runs":
            await request.gone()
        else:
            server.by_default(request)

    server.on |= {"server/discover": slowly, CALL: hang}
    async with connected(tmp_path, server) as upstream:
        running = upstream.begin("runs")
        await upstream.site.arrived(CALL)
        server.change()
        calls = [upstream.begin() for _ in range(3)]
        await asyncio.wait_for(probed.wait(), WITHIN)
        for call in calls:
            with pytest.raises(EraChanged, match="another era"):
                await call
        with pytest.raises(UpstreamGone, match="another era") as caught:
            await running
        assert not isinstance(caught.value, EraChanged)
        assert "another era" in str(await asyncio.wait_for(upstream.upstream.wait_lost(), WITHIN))
    probe = upstream.site.of("server/discover")[-1]
    assert SESSION not in probe.headers
    assert probe.headers["mcp-protocol-version"] == era.MODERN


@pytest.mark.parametrize("modern", [False, True])
async def test_server_that_did_not_change_keeps_its_connection(tmp_path: Path, modern: bool) -> None:
    server = Changing(modern=modern)
    async with connected(tmp_path, server) as upstream:
        server.refuses = True
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.call()
        assert caught.value.code == (-32000 if modern else era.UNSUPPORTED_VERSION)
        server.refuses = False
        assert await upstream.call() == "a"
        # The refusal of the probe says nothing about the session.
        assert upstream.events.new_sessions == 0


@pytest.mark.parametrize("modern", [False, True])
async def test_refusals_of_other_kinds_cost_no_probe(tmp_path: Path, modern: bool) -> None:
    server = Changing(modern=modern)

    async def refuse(request: Request) -> None:
        server.refuse(request, {"code": jsonrpc.INVALID_PARAMS, "message": "Unknown argument"})

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = refuse
        with pytest.raises(UpstreamRefused):
            await upstream.call()
    assert len(upstream.site.of("server/discover")) == 1


async def test_unreachable_server_shows_no_other_era(tmp_path: Path) -> None:
    server = Changing(modern=True)

    async def reset(request: Request) -> None:
        return None

    async with connected(tmp_path, server) as upstream:
        server.refuses = True
        server.on["server/discover"] = reset
        with pytest.raises(UpstreamRefused):
            await upstream.call()


@pytest.mark.parametrize(
    ("modern", "status", "is_outdated"),
    [(True, 400, True), (True, 500, None), (True, 200, None), (False, 400, False)],
)
async def test_refused_headers_are_outdated_once_a_listing_changes_them(
    tmp_path: Path, modern: bool, status: int, is_outdated: bool | None
) -> None:
    server = Changing(modern=modern)

    async def refuse(request: Request) -> None:
        error = {"code": era.HEADER_MISMATCH, "message": "Header mismatch"}
        request.answer(status, {"jsonrpc": "2.0", "id": request.id, "error": error})

    server.on[CALL] = refuse
    params = b'{"name":"a","arguments":{"x":"1"}}'
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.upstream.request(CALL, params, Options(WITHIN))
        if is_outdated is None:
            assert not isinstance(caught.value, HeadersRefused)
            return
        assert isinstance(caught.value, HeadersRefused)
        assert not caught.value.are_outdated()
        schema = b'{"properties":{"x":{"type":"string","x-mcp-header":"X"}}}'
        upstream.upstream.learn_tool("a", Raw(b'{"name":"a","inputSchema":%b}' % schema))
        assert caught.value.are_outdated() is is_outdated


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_call_that_may_have_run_shows_no_other_era(tmp_path: Path, status: int) -> None:
    """A gateway lost the answer of a modern server, and the next version is a legacy one."""
    server = Changing(modern=True)

    async def replace(request: Request) -> None:
        server.change()
        request.answer(status, b"upstream connect error: session was terminated before headers")

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = replace
        with pytest.raises(HttpStatus, match=str(status)):
            await upstream.call()
        del server.on[CALL]
        # This one was refused before it ran.
        with pytest.raises(EraChanged):
            await upstream.call()


@pytest.mark.parametrize("status", [None, 401, 429, 502])
async def test_probe_without_an_answer_shows_no_other_era(tmp_path: Path, status: int | None) -> None:
    server = Changing(modern=True)

    async def silent(request: Request) -> None:
        if status is None:
            await request.gone()
        else:
            request.answer(status, b"busy")

    async with connected(tmp_path, server) as upstream:
        upstream.upstream._timeout = 0.3
        server.refuses = True
        server.on["server/discover"] = silent
        with pytest.raises(UpstreamRefused):
            await upstream.call()


async def test_slow_modern_server_has_the_time_of_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses ``initialize`` in time, and answers the discovery after the probe has ended."""
    monkeypatch.setattr(handshake, "PROBE_BUDGET", 0.2)
    server = Changing(modern=True)

    async def refuse(request: Request) -> None:
        server.refuse(request, REFUSALS["modern"])

    async def slowly(request: Request) -> None:
        await asyncio.sleep(0.5)
        server.by_default(request)

    server.on |= {"initialize": refuse, "server/discover": slowly}
    async with connected(tmp_path, server) as upstream:
        assert upstream.upstream.modern
        assert await upstream.call() == "a"
