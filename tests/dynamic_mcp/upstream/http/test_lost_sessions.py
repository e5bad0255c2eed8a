"""Words about a lost session: the proxy begins another one, and repeats the call, only if the session is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.errors import HttpStatus, UpstreamError, UpstreamGone, UpstreamRefused
from dynamic_mcp.protocol import versions
from dynamic_mcp.upstream.http import reply_stream, streamable
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, SESSION, Server, connected

pytestmark = pytest.mark.usefixtures("own_proxies")


@pytest.fixture
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def _error(request: Request, text: str, code: int = -32001) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request.id, "error": {"code": code, "message": text}}


def _lost(request: Request) -> dict[str, Any]:
    return _error(request, "Session not found")


class Forgetful(Server):
    """A server that refuses requests of an old session with this status and text; the status 200 means a JSON-RPC error."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def by_default(self, request: Request) -> None:
        is_old = request.headers.get(SESSION, self.sessions[-1:]) not in self.sessions[-1:]
        if request.rpc in (CALL, "tools/list") and is_old:
            request.answer(self.status, _lost(request) if self.status == 200 else b"Session not found")
        else:
            super().by_default(request)


@pytest.mark.parametrize("status", [404, 410, 400, 401, 422, 200])
async def test_calls_of_a_lost_session_are_repeated_in_one_new_session(tmp_path: Path, status: int) -> None:
    server = Forgetful(status)
    async with connected(tmp_path, server) as upstream:
        server.sessions.append("forgotten")
        names = [str(number) for number in range(5)]
        assert await asyncio.gather(*[upstream.call(name) for name in names]) == names
        assert upstream.events.new_sessions == 1
        assert len(upstream.site.of(CALL)) == 10
        # The specification says what 404 means, so nothing has to confirm it.
        assert len(upstream.site.of("tools/list")) == (0 if status == 404 else 1)


async def test_a_call_that_may_have_run_is_not_repeated_in_the_new_session(tmp_path: Path) -> None:
    server = Forgetful(500)
    async with connected(tmp_path, server) as upstream:
        server.sessions.append("forgotten")
        with pytest.raises(HttpStatus, match="does not know the session") as caught:
            await upstream.call()
        assert caught.value.last_output == "Session not found"
        assert len(upstream.site.of(CALL)) == 1
        assert await upstream.call() == "a"
    assert len(upstream.site.of("initialize")) == 2


_OWN_WORDS = "The bank session of this account has expired; device not initialized"


@pytest.mark.parametrize("has_ids", [True, False])
@pytest.mark.parametrize(
    ("status", "text"),
    [(400, _OWN_WORDS), (422, _OWN_WORDS), (410, _OWN_WORDS), (500, _OWN_WORDS), (200, "Session not found")],
)
async def test_own_error_of_a_tool_reaches_the_client_and_its_call_runs_once(
    tmp_path: Path, has_ids: bool, status: int, text: str
) -> None:
    server = Server() if has_ids else WithoutIds(status, "")

    async def refuse(request: Request) -> None:
        request.answer(status, _error(request, text))

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = refuse
        for _ in range(3):
            with pytest.raises(UpstreamRefused) as caught:
                await upstream.call()
            assert caught.value.text == text
    assert len(upstream.site.of(CALL)) == 3
    assert upstream.events.new_sessions == 0


async def test_session_whose_server_does_not_answer_in_time_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamable, "CONFIRMATION_TIMEOUT", 0.2)
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(400, _lost(request))

    async def hang(request: Request) -> None:
        await request.gone()

    async with connected(tmp_path, server) as upstream:
        server.on |= {CALL: refuse, "tools/list": hang}
        with pytest.raises(UpstreamRefused):
            await upstream.call()
    assert upstream.events.new_sessions == 0


async def test_error_after_other_messages_for_the_call_is_its_answer(tmp_path: Path) -> None:
    server = Forgetful(200)

    async def begin_and_forget(request: Request) -> None:
        request.begin()
        request.event({"method": "notifications/message", "params": {"level": "info", "data": "booked"}})
        server.sessions.append("forgotten")
        request.event(_error(request, "Session terminated", -32000))

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = begin_and_forget
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.call()
        assert caught.value.text == "Session terminated"
        assert len(upstream.site.of(CALL)) == 1
        # The next call begins a new session.
        del server.on[CALL]
        assert await upstream.call() == "a"


async def test_error_on_a_resumed_stream_is_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_stream, "RETRY_DELAY", 0.05)
    server = Forgetful(200)
    posted: list[Request] = []

    async def begin(request: Request) -> None:
        posted.append(request)
        request.begin()
        request.event(b"", id="1")

    async def resume(request: Request) -> None:
        if "last-event-id" not in request.headers:
            request.answer(405)
            return
        server.sessions.append("forgotten")
        request.begin()
        request.event(_error(posted[0], "Session terminated", -32000))

    async with connected(tmp_path, server) as upstream:
        server.on |= {CALL: begin, "GET": resume}
        with pytest.raises(UpstreamError, match="-32000"):
            await upstream.call()
        assert len(upstream.site.of(CALL)) == 1


async def test_refusal_of_the_own_stream_begins_no_session_while_the_session_lasts(tmp_path: Path) -> None:
    server, end = Server(), asyncio.Event()

    async def listen(request: Request) -> None:
        if end.is_set():
            request.answer(400, b"Bad Request: the stream of this session is closed")
            return
        request.begin()
        await end.wait()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        end.set()
        await upstream.site.arrived("tools/list")
        assert await upstream.call() == "a"
        assert upstream.events.new_sessions == 0


class WithoutIds(Server):
    """A handshake server without session ids, which asks for ``initialize`` again after each restart."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__()
        self.refusal = status, text
        self.is_initialized = False
        self.ran = 0

    def by_default(self, request: Request) -> None:
        if request.rpc == "initialize":
            self.is_initialized = True
            request.result({"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}})
        elif request.rpc == CALL and self.is_initialized:
            self.ran += 1
            request.result({"name": "a"})
        elif request.rpc in (CALL, "tools/list"):
            status, text = self.refusal
            error = {"code": -32000, "message": text}
            request.answer(status, {"jsonrpc": "2.0", "id": request.id, "error": error})
        else:
            super().by_default(request)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "Bad Request: Server not initialized"),
        (200, "Server not initialized"),
        (400, "Session not found"),
    ],
)
async def test_server_without_a_session_id_gets_the_handshake_that_it_asks_for(
    tmp_path: Path, status: int, text: str
) -> None:
    server = WithoutIds(status, text)
    async with connected(tmp_path, server) as upstream:
        for number in range(1, 4):
            server.is_initialized = False
            assert await upstream.call() == "a"
            assert upstream.events.new_sessions == number
    assert server.ran == 3


@pytest.mark.parametrize(
    ("status", "text"), [(404, "Method not found"), (400, "Invalid params"), (503, "Busy")]
)
async def test_other_refusals_of_a_server_without_a_session_id_begin_no_session(
    tmp_path: Path, status: int, text: str
) -> None:
    server = WithoutIds(status, text)
    async with connected(tmp_path, server) as upstream:
        server.is_initialized = False
        with pytest.raises(UpstreamRefused) as caught:
            await upstream.call()
        assert caught.value.text == text
    assert upstream.events.new_sessions == 0


async def test_session_that_is_lost_twice_in_a_row_begins_again_with_the_next_call(tmp_path: Path) -> None:
    server, losses = Forgetful(200), 2

    async def lose(request: Request) -> None:
        nonlocal losses
        if losses:
            losses -= 1
            server.sessions.append("forgotten")
        server.by_default(request)

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = lose
        with pytest.raises(UpstreamRefused):
            await upstream.call()
        assert await upstream.call() == "a"
    assert len(upstream.site.of("initialize")) == 3


async def test_stream_of_a_lost_session_is_not_resumed_in_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_stream, "RETRY_DELAY", 0.05)
    server, is_renewed = Forgetful(404), asyncio.Event()

    async def begin(request: Request) -> None:
        if request.message["params"]["name"] == "old":
            request.begin()
            request.event(b"", id="1")
            await is_renewed.wait()
        else:
            server.by_default(request)

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = begin
        old = upstream.begin("old")
        await upstream.site.arrived(CALL)
        server.sessions.append("forgotten")
        assert await upstream.call("new") == "new"
        is_renewed.set()
        with pytest.raises(UpstreamGone, match="forgotten the session"):
            await old
    assert not [one for one in upstream.site.requests if "last-event-id" in one.headers]
