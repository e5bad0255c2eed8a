"""The server's own stream opens again after every refusal that does not say that the server has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamic_mcp.upstream.http import own_stream
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, SESSION, Server, connected


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)


class Listened(Server):
    """A server that ends its first stream at once, answers the next GETs by ``refuse``, and then opens the stream again."""

    def __init__(
        self, refuse: Callable[[Request], None], times: int = 1, event_id: str | None = None
    ) -> None:
        super().__init__()
        self.last_ids: list[str | None] = []
        self.on["GET"] = self._listen
        self._refuse = refuse
        self._times = times
        self._event_id = event_id

    async def _listen(self, request: Request) -> None:
        self.last_ids.append(request.headers.get("last-event-id"))
        number = len(self.last_ids)
        if 1 < number <= 1 + self._times:
            self._refuse(request)
            return
        request.begin()
        request.event({"method": f"notifications/{number}"}, id=self._event_id)
        if number > 1:
            await request.gone()


@pytest.mark.parametrize("status", [302, 400, 402, 406, 421])
async def test_refusal_of_a_gateway_does_not_end_a_stream_that_was_open(tmp_path: Path, status: int) -> None:
    server = Listened(lambda request: request.answer(status, Location="https://elsewhere.example/"), times=3)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/5" in upstream.events.methods, "the stream")
        assert upstream.events.new_sessions == 0


async def test_page_of_a_gateway_does_not_end_a_stream_that_was_open(tmp_path: Path) -> None:
    server = Listened(lambda request: request.answer(200, b"<html>maintenance</html>", kind="text/html"))
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/3" in upstream.events.methods, "the stream")


@pytest.mark.parametrize("status", [405, 501])
async def test_server_that_has_no_stream_any_more_is_asked_once(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dynamic_mcp")
    server = Listened(lambda request: request.answer(status))
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: len(server.last_ids) == 2, "the refusal")
        for _ in range(3):
            assert await upstream.call() == "a"
        assert len(server.last_ids) == 2
    assert caplog.messages == [f"the server has no event stream of its own (HTTP {status})"]


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_stream_opens_anew_if_the_server_does_not_know_the_last_event(
    tmp_path: Path, status: int
) -> None:
    server = Listened(lambda request: request.answer(status, b"Invalid event ID format"), event_id="e1")
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/3" in upstream.events.methods, "the stream")
        # The server may have sent something between the two streams.
        assert upstream.events.streams_opened == 2
    assert server.last_ids == [None, "e1", None]


@pytest.mark.parametrize("status", [401, 409, 429, 503])
async def test_refusal_that_has_another_reason_keeps_the_last_event(tmp_path: Path, status: int) -> None:
    server = Listened(lambda request: request.answer(status), event_id="e1")
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/3" in upstream.events.methods, "the stream")
        # Nothing is lost, because the stream goes on after the last event.
        assert upstream.events.streams_opened == 1
    assert server.last_ids == [None, "e1", "e1"]


@pytest.mark.parametrize("text", [b"Bad Request: No valid session ID provided", b"Session not found"])
async def test_refusal_400_that_names_the_session_begins_a_new_one(tmp_path: Path, text: bytes) -> None:
    server = Server()
    forget = asyncio.Event()

    async def listen(request: Request) -> None:
        if request.headers[SESSION] != server.sessions[-1]:
            request.answer(400, text)
            return
        request.begin()
        await forget.wait()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.sessions.append("forgotten")
        forget.set()
        await eventually(lambda: upstream.events.new_sessions == 1, "the new session")
        await eventually(lambda: upstream.events.streams_opened == 2, "its stream")


async def test_refusal_in_a_new_session_does_not_end_a_stream_that_was_open_before(tmp_path: Path) -> None:
    server = Server()
    streams: list[str] = []

    async def listen(request: Request) -> None:
        streams.append(request.headers[SESSION])
        if len(streams) == 2:
            request.answer(400)
            return
        request.begin()
        await request.gone()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.sessions.append("forgotten")
        assert await upstream.call() == "a"
        await eventually(lambda: streams == ["s0", "s2", "s2"], "the stream of the new session")


class Forgetful(Server):
    """A server that forgets its session once ``forget`` is set, and then answers the next handshakes by ``refuse``."""

    def __init__(self, refuse: Callable[[Request], None], times: int) -> None:
        super().__init__()
        self.forget, self.may_answer = asyncio.Event(), asyncio.Event()
        self.refusals = 0
        self._refuse = refuse
        self._times = times
        self.on |= {"GET": self._listen, "initialize": self._initialize, CALL: self._call}

    async def _listen(self, request: Request) -> None:
        if request.headers[SESSION] != self.sessions[-1]:
            request.answer(404)
            return
        request.begin()
        await self.forget.wait()

    async def _initialize(self, request: Request) -> None:
        if self.forget.is_set() and self.refusals < self._times:
            self.refusals += 1
            self._refuse(request)
        else:
            self.by_default(request)

    async def _call(self, request: Request) -> None:
        if request.message["params"]["name"] == "long":
            await self.may_answer.wait()
            request.result({"name": "long"})
        else:
            self.by_default(request)


@pytest.mark.parametrize("status", [429, 500, 503, 0])
async def test_calls_in_flight_survive_a_server_that_begins_no_new_session_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(own_stream, "RENEWAL_PAUSES", (0.01, 0.01))
    # Without a status, the connection ends.
    server = Forgetful(lambda request: request.answer(status) if status else None, times=2)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        call = upstream.begin("long")
        await upstream.site.arrived(CALL)
        server.sessions.append("forgotten")
        server.forget.set()
        await eventually(lambda: upstream.events.new_sessions == 1, "the new session")
        server.may_answer.set()
        assert await call == "long"
        assert await upstream.call() == "a"
    assert server.refusals == 2


@pytest.mark.parametrize("status", [400, 503])
async def test_upstream_is_lost_if_no_new_session_begins_for_its_own_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(own_stream, "RENEWAL_PAUSES", (0.01, 0.01))
    server = Forgetful(lambda request: request.answer(status), times=9)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.sessions.append("forgotten")
        server.forget.set()
        async with asyncio.timeout(WITHIN):
            end = await upstream.upstream.wait_lost()
    assert f"no new session could be begun: it answered with HTTP {status}" in str(end)
    assert server.refusals == (3 if status == 503 else 1)


async def test_call_between_two_attempts_begins_the_session_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "RENEWAL_PAUSES", (3600.0,))
    server = Forgetful(lambda request: request.answer(503), times=1)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.sessions.append("forgotten")
        server.forget.set()
        await eventually(lambda: server.refusals == 1, "the refusal")
        assert await upstream.call() == "a"
        await eventually(lambda: upstream.events.new_sessions == 1, "the new session")
