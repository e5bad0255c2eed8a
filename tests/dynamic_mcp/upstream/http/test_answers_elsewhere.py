"""Servers that send their answers on their own stream, although MCP forbids it; each of these forms was reported of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.upstream.http import replies
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Handler, Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, OpenUpstream, Server, connected


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Elsewhere(Server):
    """Accepts calls, and has an own stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stream: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        self.on["GET"] = self._open_stream

    async def _open_stream(self, request: Request) -> None:
        request.begin()
        self.stream.set_result(request)
        await request.gone()

    async def answer(self, call: Request, name: str) -> None:
        """Answer a call on the own stream."""
        (await self.stream).event({"id": call.id, "result": {"name": name}})


async def accept(call: Request) -> None:
    call.answer(202)


async def end_stream(call: Request) -> None:
    call.begin()


@asynccontextmanager
async def with_own_stream(tmp_path: Path, server: Elsewhere) -> AsyncIterator[OpenUpstream]:
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the own stream opens")
        yield upstream


@pytest.mark.parametrize("reply", [accept, end_stream])
async def test_an_answer_on_the_own_stream_counts_if_the_reply_has_none(
    tmp_path: Path, reply: Handler
) -> None:
    server = Elsewhere()
    server.on[CALL] = reply
    async with with_own_stream(tmp_path, server) as upstream:
        calls = [upstream.begin(name) for name in ("a", "b")]
        for call in reversed(await upstream.site.arrived(CALL, 2)):
            await server.answer(call, str(call.message["params"]["name"]) * 2)
        assert await asyncio.gather(*calls) == ["aa", "bb"]


async def test_an_answer_may_come_before_the_reply(tmp_path: Path) -> None:
    server = Elsewhere()

    async def answer_first(call: Request) -> None:
        await server.answer(call, "early")
        await asyncio.sleep(0.05)
        call.answer(202)

    server.on[CALL] = answer_first
    async with with_own_stream(tmp_path, server) as upstream:
        assert await upstream.call() == "early"


async def test_the_answer_in_the_reply_counts(tmp_path: Path) -> None:
    server = Elsewhere()

    async def answer_twice(call: Request) -> None:
        await server.answer(call, "elsewhere")
        await asyncio.sleep(0.05)
        call.result({"name": "here"})

    server.on[CALL] = answer_twice
    async with with_own_stream(tmp_path, server) as upstream:
        assert await upstream.call() == "here"
        assert await upstream.call() == "here"


async def test_a_server_without_answers_fails_its_call_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "ELSEWHERE_WAIT", 0.05)
    server = Elsewhere()
    server.on[CALL] = accept
    async with with_own_stream(tmp_path, server) as upstream:
        with pytest.raises(UpstreamFailed, match=r"its answer \(HTTP 202, text/plain\) has no body"):
            await upstream.call()


async def test_after_one_answer_there_the_wait_has_no_own_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "ELSEWHERE_WAIT", WITHIN)
    server = Elsewhere()
    server.on[CALL] = accept
    async with with_own_stream(tmp_path, server) as upstream:
        first = upstream.begin()
        await server.answer((await upstream.site.arrived(CALL))[0], "first")
        assert await first == "first"
        monkeypatch.setattr(replies, "ELSEWHERE_WAIT", 0.0)
        second = upstream.begin()
        call = (await upstream.site.arrived(CALL, 2))[1]
        await asyncio.sleep(0.05)
        await server.answer(call, "second")
        assert await second == "second"
