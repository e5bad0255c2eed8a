"""The server's own stream: what a start waits for, and which streams may have lost notifications."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dynamic_mcp.upstream.http import own_stream, streamable
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import Server, connected

pytestmark = pytest.mark.usefixtures("own_proxies")


@pytest.fixture
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


async def test_start_waits_for_the_stream_so_that_the_first_list_follows_it(tmp_path: Path) -> None:
    server = Server()

    async def listen(request: Request) -> None:
        await asyncio.sleep(0.1)
        request.begin()
        await request.gone()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        assert upstream.upstream.delivers_notifications
        assert upstream.events.streams_opened == 1


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_start_does_not_wait_after_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(streamable, "OWN_STREAM_WAIT", 3600.0)
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(status)

    server.on["GET"] = refuse
    async with connected(tmp_path, server) as upstream:
        assert not upstream.upstream.delivers_notifications


async def test_start_waits_a_short_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamable, "OWN_STREAM_WAIT", 0.02)
    server = Server()

    async def never(request: Request) -> None:
        await request.gone()

    server.on["GET"] = never
    async with connected(tmp_path, server) as upstream:
        assert not upstream.upstream.delivers_notifications
        assert await upstream.call() == "a"


@pytest.mark.parametrize("id", ["7", None])
async def test_only_a_stream_that_does_not_continue_the_last_one_may_have_lost_notifications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id: str | None
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Server()
    streams: list[Request] = []

    async def listen(request: Request) -> None:
        streams.append(request)
        request.begin()
        request.event({"method": f"notifications/{len(streams)}"}, id=id)
        if len(streams) > 1:
            await request.gone()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/2" in upstream.events.methods, "the second stream")
        assert upstream.upstream.delivers_notifications
        assert upstream.events.streams_opened == (1 if id else 2)
