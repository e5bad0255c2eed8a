"""HTTP+SSE: where the messages go, and what goes with them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import HttpStatus, UpstreamGone, UpstreamTimeout
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.protocol import versions
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.http import client as client_module
from dynamic_mcp.upstream.http import legacy_sse
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.events import RecordedEvents
from tests.dynamic_mcp.upstream.http.scripted_server import Handler, Request, site


@pytest.mark.parametrize(
    "endpoint", ["{origin}/messages?a=b", "/messages?a=b", "{foreign_user}/messages?a=b"]
)
async def test_credentials_in_the_url_go_with_every_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    streams: list[Request] = []

    async def serve(request: Request) -> None:
        if request.method == "GET":
            streams.append(request)
            request.begin()
            foreign = running.origin.replace("://", "://other:one@")
            address = endpoint.format(origin=running.origin, foreign_user=foreign)
            request.write(f"event: endpoint\ndata: {address}\n\n".encode())
            await request.gone()
            return
        request.answer(202)
        if request.rpc == "initialize":
            result = {"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}}
            streams[0].event({"id": request.id, "result": result})

    async with site(serve) as running:
        url = running.url.replace("://", "://user:pass@")
        transport = RemoteTransport(Secret(url))
        client = HttpClient(url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = SseUpstream(client, RecordedEvents())
        try:
            async with asyncio.timeout(WITHIN):
                await upstream.open(WITHIN)
        finally:
            await upstream.close()

    basic = f"Basic {base64.b64encode(b'user:pass').decode()}"
    sent = [
        (request.method, request.target, request.headers.get("authorization")) for request in running.requests
    ]
    assert sent == [("GET", "/mcp", basic), *[("POST", "/messages?a=b", basic)] * 2]


class Server:
    """A server whose one call a test answers: on the stream, and as a POST."""

    def __init__(self, on_call: Callable[[Server, Request], Awaitable[None]]) -> None:
        self.on_call = on_call
        #: set once the connection of the call's POST is over, or once it has its answer
        self.is_over = asyncio.Event()
        self._streams: list[Request] = []

    async def __call__(self, request: Request) -> None:
        if request.method == "GET":
            self._streams.append(request)
            request.begin()
            request.write(b"event: endpoint\ndata: /messages\n\n")
            await request.gone()
        elif request.rpc == "tools/call":
            await self.on_call(self, request)
            self.is_over.set()
        else:
            request.answer(202)
            if request.rpc == "initialize":
                self.answer(request, {"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}})

    def answer(self, request: Request, result: dict[str, object]) -> None:
        """Answer a request on the stream."""
        self.send({"id": request.id, "result": result})

    def send(self, message: dict[str, object]) -> None:
        """Send a message on the stream."""
        self._streams[0].event(message)


@asynccontextmanager
async def connected(
    tmp_path: Path, server: Handler, events: RecordedEvents | None = None, *, max_size: int = MAX_MESSAGE
) -> AsyncIterator[SseUpstream]:
    async with site(server) as running:
        transport = RemoteTransport(Secret(running.url))
        client = HttpClient(running.url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = SseUpstream(client, events or RecordedEvents(), max_size=max_size)
        try:
            async with asyncio.timeout(WITHIN):
                await upstream.open(WITHIN)
            yield upstream
        finally:
            await upstream.close()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    for module in (client_module, legacy_sse):
        monkeypatch.setattr(module, "ACCEPT_TIMEOUT", 0.2)


@pytest.mark.usefixtures("short_wait")
async def test_post_may_be_answered_when_the_call_is_done(tmp_path: Path) -> None:
    async def take_time(server: Server, request: Request) -> None:
        await asyncio.sleep(0.5)
        server.answer(request, {"content": []})
        await asyncio.sleep(0.05)
        request.answer(202)

    server = Server(take_time)
    async with connected(tmp_path, server) as upstream:
        assert await upstream.request("tools/call", b"{}", Options(WITHIN)) == b'{"content": []}'
        await asyncio.wait_for(server.is_over.wait(), WITHIN)


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("has_answer", [True, False])
async def test_unanswered_post_ends_soon_after_its_call(tmp_path: Path, has_answer: bool) -> None:
    async def hang(server: Server, request: Request) -> None:
        if has_answer:
            server.answer(request, {"content": []})
        await request.gone()

    server = Server(hang)
    async with connected(tmp_path, server) as upstream:
        call = upstream.request("tools/call", b"{}", Options(WITHIN if has_answer else 0.4))
        if has_answer:
            assert await call == b'{"content": []}'
        else:
            with pytest.raises(UpstreamTimeout):
                await call
        assert not server.is_over.is_set()
        await asyncio.wait_for(server.is_over.wait(), WITHIN / 2)


@pytest.mark.usefixtures("short_wait")
async def test_oversized_request_is_refused_and_the_call_with_its_id_goes_on(tmp_path: Path) -> None:
    refused: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def ask(server: Server, request: Request) -> None:
        request.answer(202)
        text = "x" * (2 << 20)
        server.send({"method": "sampling/createMessage", "params": {"x": text}, "id": request.id})
        await refused
        server.answer(request, {"content": []})

    class Asking(Server):
        async def __call__(self, request: Request) -> None:
            if request.method == "POST" and request.rpc is None:
                refused.set_result(request.message)
            await super().__call__(request)

    async with connected(tmp_path, Asking(ask), max_size=1 << 20) as upstream:
        assert await upstream.request("tools/call", b"{}", Options(WITHIN)) == b'{"content": []}'
    assert refused.result()["error"]["message"] == "the message is larger than 1 MiB"


class ForgetfulServer:
    """A server with one session for each stream. It can forget the sessions, while a gateway keeps the streams open."""

    def __init__(self, status: int = 404, text: str = "Could not find session") -> None:
        self.refusal = status, text.encode()
        #: the streams so far; their numbers are those of the sessions
        self.streams: list[Request] = []
        self.forgotten = 0
        #: the tool whose calls alone are refused, and one that never answers
        self.odd = "odd"
        #: the names of the tools that ran, with the session
        self.ran: list[tuple[str, int]] = []
        self.next_endpoint = asyncio.Event()
        self.next_endpoint.set()

    async def __call__(self, request: Request) -> None:
        if request.method == "GET":
            self.streams.append(request)
            number = len(self.streams)
            request.begin()
            await self.next_endpoint.wait()
            request.write(f"event: endpoint\ndata: /messages?session={number}\n\n".encode())
            await request.gone()
            return
        session = int(request.target.partition("=")[2])
        tool = request.message.get("params", {}).get("name")
        if session <= self.forgotten or tool == self.odd:
            status, text = self.refusal
            request.answer(status, text)
            return
        request.answer(202)
        if request.rpc == "tools/call":
            self.ran.append((tool, session))
        if tool != "silent" and "id" in request.message:
            result = {"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}, "content": []}
            self.streams[session - 1].event({"id": request.id, "result": result})


async def call(upstream: SseUpstream, tool: str) -> bytes:
    return await upstream.request("tools/call", b'{"name":"%b"}' % tool.encode(), Options(WITHIN))


LOST_SESSIONS = [
    (404, "Could not find session"),
    (404, ""),
    (410, ""),
    (400, "No transport found for sessionId"),
    (400, "Invalid session ID"),
]


@pytest.mark.parametrize(("status", "text"), LOST_SESSIONS)
async def test_forgotten_stream_is_replaced_and_the_call_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, text: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer(status, text)
    async with connected(tmp_path, server) as upstream:
        await call(upstream, "echo")
        waiting = asyncio.create_task(call(upstream, "silent"))
        await eventually(lambda: len(server.ran) == 2, "the call arrived")
        server.forgotten = 1
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(*[call(upstream, "echo") for _ in range(5)])
            with pytest.raises(UpstreamGone, match="forgotten"):
                await waiting

    assert server.ran == [("echo", 1), ("silent", 1), *[("echo", 2)] * 5]
    assert len(server.streams) == 2


async def test_new_session_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server, events = ForgetfulServer(), RecordedEvents()
    async with connected(tmp_path, server, events) as upstream:
        server.forgotten = 1
        await call(upstream, "echo")
    assert events.new_sessions == 1


async def test_one_refused_call_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer()
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(HttpStatus, match="HTTP 404"):
            await call(upstream, "odd")
        await call(upstream, "echo")
    assert server.ran == [("echo", 1)]


async def test_refusal_of_a_server_error_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer(500, "Session not found")
    async with connected(tmp_path, server) as upstream:
        server.forgotten = 1
        with pytest.raises(HttpStatus, match="HTTP 500"):
            await call(upstream, "echo")
        await call(upstream, "echo")
    assert server.ran == [("echo", 2)]


async def test_connection_is_lost_if_no_new_session_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer()
    async with connected(tmp_path, server) as upstream:
        server.forgotten = 2
        with pytest.raises(UpstreamGone, match=r"no new session could be begun: .*HTTP 404"):
            await call(upstream, "echo")
        assert "no new session" in str(await asyncio.wait_for(upstream.wait_lost(), WITHIN))


async def test_messages_wait_for_the_new_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer()
    async with connected(tmp_path, server) as upstream:
        server.forgotten = 1
        server.next_endpoint.clear()
        first = asyncio.create_task(call(upstream, "first"))
        await eventually(lambda: len(server.streams) == 2, "a second stream")
        second = asyncio.create_task(call(upstream, "second"))
        upstream.notify("notifications/roots/list_changed")
        with pytest.raises(UpstreamTimeout):
            await upstream.request("tools/call", b'{"name":"late"}', Options(0.1))
        server.next_endpoint.set()
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(first, second)
    assert sorted(server.ran) == [("first", 2), ("second", 2)]


async def test_new_stream_that_does_not_open_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer()

    async def serve(request: Request) -> None:
        if request.method == "GET" and server.streams:
            await request.gone()
        else:
            await server(request)

    async with connected(tmp_path, serve) as upstream:
        upstream._timeout = 0.2
        server.forgotten = 1
        with pytest.raises(UpstreamGone, match=r"no new session could be begun: .*0\.2 s \(timeout.start\)"):
            await call(upstream, "echo")
        assert "no new session" in str(await asyncio.wait_for(upstream.wait_lost(), WITHIN))


async def test_ping_goes_to_the_old_stream_until_the_new_one_has_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = ForgetfulServer()
    async with connected(tmp_path, server) as upstream:
        server.forgotten = 1
        server.next_endpoint.clear()
        waiting = asyncio.create_task(call(upstream, "echo"))
        await eventually(lambda: len(server.streams) == 2, "a second stream")
        with pytest.raises(HttpStatus):
            await upstream.request("ping", b"", Options(WITHIN))
        server.next_endpoint.set()
        await asyncio.wait_for(waiting, WITHIN)
    assert server.ran == [("echo", 2)]


async def test_late_answer_of_an_old_connection_reaches_no_call_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has one transport for all connections, so it answers on the newest stream."""
    monkeypatch.setenv("NO_PROXY", "*")
    calls: list[Request] = []

    async def hold(server: Server, request: Request) -> None:
        request.answer(202)
        calls.append(request)

    server = Server(hold)
    async with connected(tmp_path, server) as upstream:
        lost = asyncio.create_task(call(upstream, "old"))
        await eventually(lambda: calls, "the call")
    with pytest.raises(UpstreamGone):
        await lost
    server._streams.clear()
    async with connected(tmp_path, server) as upstream:
        running = asyncio.create_task(call(upstream, "new"))
        await eventually(lambda: len(calls) == 2, "the call on the new connection")
        for request, name in zip(calls, ("old", "new"), strict=True):
            server.answer(request, {"of": name})
        assert json.loads(await running) == {"of": "new"}
