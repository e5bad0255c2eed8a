"""Servers that send their answers on their own stream, although MCP forbids it; each of these forms was reported of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.upstream.http import answers_elsewhere, own_stream
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
        self.on["GET"] = self._open_stream
        self._streams: list[tuple[Request, asyncio.Task[None]]] = []

    async def _open_stream(self, request: Request) -> None:
        request.begin()
        task = asyncio.current_task()
        assert task is not None
        self._streams.append((request, task))
        await request.gone()

    async def answer(self, call: Request, name: str) -> None:
        """Answer a call on the own stream."""
        await eventually(lambda: bool(self._streams), "the own stream opens")
        self._streams[-1][0].event({"id": call.id, "result": {"name": name}})

    def end_stream(self) -> None:
        """End the own stream."""
        self._streams.pop()[1].cancel()


async def accept(call: Request) -> None:
    call.answer(202)


async def begin_and_end(call: Request) -> None:
    call.begin()


@asynccontextmanager
async def with_own_stream(tmp_path: Path, server: Elsewhere) -> AsyncIterator[OpenUpstream]:
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the own stream opens")
        yield upstream


@pytest.mark.parametrize("reply", [accept, begin_and_end])
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
    monkeypatch.setattr(answers_elsewhere, "ELSEWHERE_WAIT", 0.05)
    server = Elsewhere()
    server.on[CALL] = accept
    async with with_own_stream(tmp_path, server) as upstream:
        with pytest.raises(UpstreamFailed, match=r"its answer \(HTTP 202, text/plain\) has no body"):
            await upstream.call()


async def test_after_one_answer_there_the_wait_has_no_own_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_elsewhere, "ELSEWHERE_WAIT", WITHIN)
    server = Elsewhere()
    server.on[CALL] = accept
    async with with_own_stream(tmp_path, server) as upstream:
        first = upstream.begin()
        await server.answer((await upstream.site.arrived(CALL))[0], "first")
        assert await first == "first"
        monkeypatch.setattr(answers_elsewhere, "ELSEWHERE_WAIT", 0.0)
        second = upstream.begin()
        call = (await upstream.site.arrived(CALL, 2))[1]
        await asyncio.sleep(0.05)
        await server.answer(call, "second")
        assert await second == "second"


# The stream ends while requests wait


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_elsewhere, "ELSEWHERE_WAIT", 3600.0)


@pytest.mark.usefixtures("patient")
async def test_wait_ends_with_the_session(tmp_path: Path) -> None:
    server = Elsewhere()

    async def accept_old(call: Request) -> None:
        if call.message["params"]["name"] == "old":
            call.answer(202)
        else:
            server.by_default(call)

    server.on[CALL] = accept_old
    async with with_own_stream(tmp_path, server) as upstream:
        old = upstream.begin("old")
        await upstream.site.arrived(CALL)
        server.sessions.append("forgotten")
        assert await upstream.call("new") == "new"
        with pytest.raises(UpstreamGone, match="forgotten the session"):
            await old


@pytest.mark.usefixtures("patient")
async def test_request_that_is_accepted_after_the_end_of_its_session_fails(tmp_path: Path) -> None:
    server, is_renewed = Elsewhere(), asyncio.Event()

    async def accept_late(call: Request) -> None:
        if call.message["params"]["name"] == "old":
            await is_renewed.wait()
            call.answer(202)
        else:
            server.by_default(call)

    server.on[CALL] = accept_late
    async with with_own_stream(tmp_path, server) as upstream:
        old = upstream.begin("old")
        await upstream.site.arrived(CALL)
        server.sessions.append("forgotten")
        assert await upstream.call("new") == "new"
        is_renewed.set()
        with pytest.raises(UpstreamGone, match="forgotten the session"):
            await old


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "forgotten the session"), (405, "offers no event stream of its own any more")],
)
@pytest.mark.usefixtures("patient")
async def test_wait_ends_if_no_other_stream_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Elsewhere()
    server.on[CALL] = accept

    async def refuse(request: Request) -> None:
        request.answer(status)

    async with with_own_stream(tmp_path, server) as upstream:
        call = upstream.begin()
        await upstream.site.arrived(CALL)
        server.on |= {"GET": refuse, "initialize": hang}
        server.end_stream()
        with pytest.raises(UpstreamFailed, match=reason):
            await call


async def hang(request: Request) -> None:
    await request.gone()


@pytest.mark.usefixtures("patient")
async def test_answer_may_come_on_the_next_stream_which_opens_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 3600.0)
    monkeypatch.setattr(own_stream, "MIN_RETRY_DELAY", 0.0)
    server = Elsewhere()
    server.on[CALL] = accept
    async with with_own_stream(tmp_path, server) as upstream:
        server.end_stream()
        await eventually(lambda: not upstream.upstream.delivers_notifications, "the own stream ends")
        calls = [upstream.begin(name) for name in ("a", "b", "c")]
        for call in await upstream.site.arrived(CALL, 3):
            await server.answer(call, "late")
            server.end_stream()
        assert await asyncio.gather(*calls) == ["late"] * 3


@pytest.mark.usefixtures("patient")
async def test_request_opens_a_refused_stream_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 3600.0)
    monkeypatch.setattr(own_stream, "MIN_RETRY_DELAY", 0.0)
    server = Elsewhere()
    server.on[CALL] = accept

    async def refuse(request: Request) -> None:
        request.answer(503)

    async with with_own_stream(tmp_path, server) as upstream:
        server.on["GET"] = refuse
        server.end_stream()
        await eventually(lambda: not upstream.upstream.delivers_notifications, "the own stream ends")
        before = len(upstream.site.requests)
        call = upstream.begin()
        await eventually(lambda: len(upstream.site.requests) == 2 + before, "the call and one GET")
        await asyncio.sleep(0.05)
        assert len(upstream.site.requests) == 2 + before
        call.cancel()
        await asyncio.wait([call])


async def test_answer_counts_that_came_before_the_stream_ended_and_before_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Elsewhere()

    async def refuse(request: Request) -> None:
        request.answer(405)

    async def answer_first(call: Request) -> None:
        await server.answer(call, "early")
        server.on["GET"] = refuse
        server.end_stream()
        await asyncio.sleep(0.05)
        call.answer(202)

    server.on[CALL] = answer_first
    async with with_own_stream(tmp_path, server) as upstream:
        assert await upstream.call() == "early"
