"""A new session in place of a lost one: what its server asked before has no answer, and its ids mean nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.http import own_stream
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http import test_legacy_sse as sse
from tests.dynamic_mcp.upstream.http.events import RecordedEvents
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import (
    CALL,
    SESSION,
    OpenUpstream,
    Server,
    connected,
    result,
)


@pytest.fixture(autouse=True)
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class AskedEvents(RecordedEvents):
    """Answers each question with its own text, once ``go_on`` is set for that text."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.go_on: set[str] = set()

    async def on_request(self, message: Message, callers: Sequence[object] = ()) -> bytes:
        text = bytes(message.params).decode()
        self.asked.append(text)
        try:
            await eventually(lambda: text in self.go_on, "the user answers")
        except asyncio.CancelledError:
            self.cancelled.append(text)
            raise
        return text.encode()


def question(session: str) -> dict[str, Any]:
    """The first question of a session; every session counts from 0."""
    return {"id": 0, "method": "elicitation/create", "params": {"of": session}}


def text_of(session: str) -> str:
    return f'{{"of": "{session}"}}'


class Asking(Server):
    """Each call asks the first question of its session, and has the answer as its result."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, Any]] = []
        self.on[CALL] = self.ask

    async def ask(self, request: Request) -> None:
        session = request.headers[SESSION]
        if session != self.sessions[-1]:
            request.answer(404)
            return
        request.begin()
        request.event(question(session))
        await eventually(lambda: session != self.sessions[-1] or session in dict(self.answers), "an answer")
        if session == self.sessions[-1]:
            request.event(result(request, str(dict(self.answers)[session])))
        else:
            await request.gone()

    def by_default(self, request: Request) -> None:
        if request.method == "POST" and "method" not in request.message:
            if request.headers.get(SESSION) in self.sessions[-1:]:
                self.answers.append((request.headers[SESSION], request.message.get("result", "an error")))
                request.answer(202)
            else:
                request.answer(404)
            return
        super().by_default(request)


async def asked(upstream: OpenUpstream, events: AskedEvents, session: str) -> asyncio.Task[str]:
    """Begin a call, and wait for the question of this session."""
    call = upstream.begin()
    await eventually(lambda: text_of(session) in events.asked, "the question")
    return call


async def test_question_of_a_new_session_has_an_id_of_the_old_one(tmp_path: Path) -> None:
    server, events = Asking(), AskedEvents()
    async with connected(tmp_path, server, events=events) as upstream:
        old = await asked(upstream, events, "s0")
        server.sessions.append("forgotten")
        new = await asked(upstream, events, "s2")
        assert events.cancelled == [text_of("s0")]
        events.go_on |= {text_of("s0"), text_of("s2")}
        assert await new == "{'of': 's2'}"
        old.cancel()
        await asyncio.wait([old])
    assert server.answers == [("s2", {"of": "s2"})]


async def test_clock_of_a_call_goes_on_when_its_session_is_lost(tmp_path: Path) -> None:
    server, events = Asking(), AskedEvents()
    async with connected(tmp_path, server, events=events) as upstream:
        old = upstream.begin(timeout=0.5)
        await eventually(lambda: events.asked, "the question")
        server.sessions.append("forgotten")
        new = await asked(upstream, events, "s2")
        await asyncio.wait([old], timeout=WITHIN)
        assert "no answer" in str(old.exception())
        events.go_on.add(text_of("s2"))
        assert await new == "{'of': 's2'}"


async def test_question_on_a_stream_of_the_old_session_reaches_no_user(tmp_path: Path) -> None:
    server, events = Asking(), AskedEvents()
    late = asyncio.Event()

    async def ask_late(request: Request) -> None:
        if request.headers[SESSION] == "s0" and request.message["params"]["name"] == "old":
            request.begin()
            await late.wait()
            request.event(question("s0"))
            request.event({"id": 1, "method": "ping"})
            request.event(result(request, "old"))
            return
        server.by_default(request)

    server.on[CALL] = ask_late
    async with connected(tmp_path, server, events=events) as upstream:
        old = upstream.begin("old")
        await upstream.site.arrived(CALL)
        server.sessions.append("forgotten")
        assert await upstream.call("new") == "new"
        late.set()
        assert await old == "old"
    assert not events.asked
    assert not server.answers


async def test_new_session_with_the_old_id_begins_once(tmp_path: Path) -> None:
    server, begun = Server(), 0

    async def begin(request: Request) -> None:
        nonlocal begun
        begun += 1
        server.sessions.append("same")
        request.result({"protocolVersion": "2025-11-25", "capabilities": {}}, Mcp_Session_Id="same")

    server.on["initialize"] = begin
    forgotten = asyncio.Event()

    async def forget(request: Request) -> None:
        if server.sessions[-1] != "same":
            await forgotten.wait()
        server.by_default(request)

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = forget
        server.sessions.append("forgotten")
        calls = [upstream.begin(str(number)) for number in range(5)]
        await upstream.site.arrived(CALL, 5)
        forgotten.set()
        assert await asyncio.gather(*calls) == ["0", "1", "2", "3", "4"]
    assert begun == 2


async def test_own_stream_begins_one_session_with_the_old_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "RENEWAL_PAUSES", (0.01, 0.01))
    server, forget = Server(), asyncio.Event()

    async def begin(request: Request) -> None:
        server.sessions.append("same")
        request.result({"protocolVersion": "2025-11-25", "capabilities": {}}, Mcp_Session_Id="same")

    async def listen(request: Request) -> None:
        if server.sessions[-1] != "same":
            request.answer(404)
            return
        request.begin()
        await forget.wait()

    server.on |= {"initialize": begin, "GET": listen}
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.sessions.append("forgotten")
        forget.set()
        await eventually(lambda: upstream.events.new_sessions, "the new session")
        await asyncio.sleep(0.1)
        assert upstream.events.new_sessions == 1


# HTTP+SSE


class AskingStreams(sse.ForgetfulServer):
    """Each stream asks its first question on a call of the tool "silent"; the answers arrive with their session."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[int, Any]] = []

    async def __call__(self, request: Request) -> None:
        if request.method == "POST" and "method" not in request.message:
            session = int(request.target.partition("=")[2])
            self.answers.append((session, request.message.get("result", "an error")))
            request.answer(404 if session <= self.forgotten else 202)
            return
        await super().__call__(request)
        if request.rpc == CALL and self.ran and self.ran[-1][0] == "silent":
            session = self.ran[-1][1]
            self.streams[session - 1].event(question(f"s{session}"))


async def test_question_of_a_new_stream_has_an_id_of_the_old_one(tmp_path: Path) -> None:
    server, events = AskingStreams(), AskedEvents()
    async with sse.connected(tmp_path, server, events) as upstream:

        def begin() -> asyncio.Task[bytes]:
            return asyncio.create_task(upstream.request(CALL, b'{"name":"silent"}', Options(WITHIN)))

        old = begin()
        await eventually(lambda: text_of("s1") in events.asked, "the first question")
        server.forgotten = 1
        new = begin()
        await eventually(lambda: text_of("s2") in events.asked, "the second question")
        assert events.cancelled == [text_of("s1")]
        events.go_on |= {text_of("s1"), text_of("s2")}
        await eventually(lambda: server.answers, "the answer")
        for task in (old, new):
            task.cancel()
        await asyncio.wait([old, new])
    assert server.answers == [(2, {"of": "s2"})]


async def test_answer_that_waits_for_a_new_stream_stays_with_the_old_one(tmp_path: Path) -> None:
    server, events = AskingStreams(), AskedEvents()
    pinged, go_on = asyncio.Event(), asyncio.Event()

    async def serve(request: Request) -> None:
        if request.rpc == "ping":
            pinged.set()
            await go_on.wait()
        await server(request)

    async with sse.connected(tmp_path, serve, events) as upstream:
        old = asyncio.create_task(upstream.request(CALL, b'{"name":"silent"}', Options(WITHIN)))
        await eventually(lambda: events.asked, "the question")
        server.forgotten = 1
        new = asyncio.create_task(sse.call(upstream, "echo"))
        await asyncio.wait_for(pinged.wait(), WITHIN)
        events.go_on.add(text_of("s1"))
        # The answer is on its way before the ping shows that the session is lost.
        await eventually(lambda: not upstream._peer._incoming._tasks, "the answer")
        go_on.set()
        await new
        old.cancel()
        await asyncio.wait([old])
    assert not server.answers
