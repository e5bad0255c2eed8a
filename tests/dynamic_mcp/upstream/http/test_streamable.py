"""Streamable HTTP where requests meet each other: sessions that end, calls that are given up, answers that are not theirs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.config.model import HttpTransport
from dynamic_mcp.errors import HttpStatus, UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.protocol import era, jsonrpc, versions
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.base import Options
from dynamic_mcp.upstream.http import answer_stream
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Handler, Request, Site, site

pytestmark = pytest.mark.usefixtures("own_proxies")

CALL = "tools/call"
SESSION = "mcp-session-id"


@pytest.fixture
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Heard:
    """What the upstream said by itself."""

    def __init__(self) -> None:
        self.methods: list[str | None] = []

    def capabilities(self) -> bytes:
        return b"{}"

    def on_notification(self, message: Message) -> None:
        self.methods.append(message.method)

    async def on_request(self, message: Message) -> bytes:
        raise jsonrpc.Refusal(jsonrpc.METHOD_NOT_FOUND, "no")


class Server:
    """A server of one era with sessions (legacy); ``on`` says how a method, or the verb GET, is answered in place of the default."""

    def __init__(self, *, modern: bool = False) -> None:
        self.on: dict[str, Handler] = {}
        self.sessions: list[str] = []
        self._modern = modern

    async def __call__(self, request: Request) -> None:
        what = request.rpc or request.method
        if what in self.on:
            await self.on[what](request)
        else:
            self.by_default(request)

    def by_default(self, request: Request) -> None:
        """Answer well."""
        if request.method != "POST":
            request.answer(405)
        elif request.rpc == "server/discover" and self._modern:
            request.result({"supportedVersions": [era.MODERN], "capabilities": {"tools": {}}})
        elif request.rpc == "initialize":
            self.sessions.append(f"s{len(self.sessions)}")
            answer = {"protocolVersion": versions.LATEST_LEGACY, "capabilities": {"tools": {}}}
            request.result(answer, Mcp_Session_Id=self.sessions[-1])
        elif "id" not in request.message:
            request.answer(202)
        elif not self._modern and request.headers.get(SESSION) not in self.sessions[-1:]:
            request.answer(404 if SESSION in request.headers else 400)
        else:
            request.result({"name": request.message["params"]["name"]})


class Connected:
    """An open upstream over a server."""

    def __init__(self, upstream: StreamableHttpUpstream, server: Site, heard: Heard) -> None:
        self.upstream = upstream
        self.site = server
        self.heard = heard

    async def call(self, name: str = "a", timeout: float = WITHIN) -> str:
        """Call a tool; the name that the result gives back."""
        params = json.dumps({"name": name}).encode()
        value = json.loads(await self.upstream.request(CALL, params, Options(timeout)))
        assert isinstance(value, dict)
        return str(value["name"])

    def begin(self, name: str = "a", timeout: float = WITHIN) -> asyncio.Task[str]:
        """The same in the background."""
        return asyncio.create_task(self.call(name, timeout))


@asynccontextmanager
async def connected(
    tmp_path: Path, server: Server, max_size: int = jsonrpc.MAX_MESSAGE
) -> AsyncIterator[Connected]:
    """An upstream over a server; nothing of it is left in the end, on either side."""
    before = asyncio.all_tasks()
    heard = Heard()
    async with site(server) as place:
        transport = HttpTransport(Secret(place.url), (), False, None, ())
        web = HttpClient(place.url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = StreamableHttpUpstream(web, heard, max_size=max_size)
        try:
            await upstream.open(WITHIN)
            yield Connected(upstream, place, heard)
        finally:
            async with asyncio.timeout(WITHIN):
                await upstream.close()
    await eventually(lambda: not asyncio.all_tasks() - before, "every task ends")


def result(request: Request, name: str, id: object = None) -> dict[str, Any]:
    """The result of a call, under its own id or another."""
    return {"id": request.id if id is None else id, "result": {"name": name}}


# The era of the server


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", b"<html></html>"),
        (202, "text/plain", b""),
        (
            200,
            "application/json",
            b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"not initialized"}}',
        ),
        (
            200,
            "application/json",
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}',
        ),
        (200, "application/json", b"[]"),
        (400, "text/plain", b"Bad Request"),
        (404, "text/plain", b""),
        (406, "application/json", b'{"error":"no"}'),
    ],
)
async def test_whatever_is_no_discovery_means_a_handshake(
    tmp_path: Path, status: int, kind: str, body: bytes
) -> None:
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(status, body, kind=kind)

    server.on["server/discover"] = refuse
    async with connected(tmp_path, server) as upstream:
        assert not upstream.upstream.modern
        assert await upstream.call() == "a"


# Sessions


async def test_calls_that_meet_a_dead_session_begin_one_new_one(tmp_path: Path) -> None:
    server = Server()
    refuse, beginning, refused = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def forget(request: Request) -> None:
        if request.headers[SESSION] == "s0":
            await refuse.wait()
            if request.message["params"]["name"] == "late":
                await beginning.wait()
                request.answer(404)
                refused.set()
                return
        server.by_default(request)

    async def slowly(request: Request) -> None:
        beginning.set()
        await refused.wait()
        server.by_default(request)

    async with connected(tmp_path, server) as upstream:
        server.on |= {CALL: forget, "initialize": slowly}
        names = ["0", "1", "2", "late"]
        calls = [upstream.begin(name) for name in names]
        await upstream.site.arrived(CALL, 4)
        server.sessions.append("forgotten")
        refuse.set()

        assert await asyncio.gather(*calls) == names
        assert len(upstream.site.of("initialize")) == 2
        assert SESSION not in upstream.site.of("initialize")[1].headers
        assert [request.headers[SESSION] for request in upstream.site.of(CALL)] == ["s0"] * 4 + ["s2"] * 4


async def test_the_new_session_outlives_the_call_that_asked_for_it(tmp_path: Path) -> None:
    server = Server()
    go_on = asyncio.Event()

    async def slowly(request: Request) -> None:
        await go_on.wait()
        server.by_default(request)

    async with connected(tmp_path, server) as upstream:
        server.sessions.append("forgotten")
        server.on["initialize"] = slowly
        first = upstream.begin("first")
        await upstream.site.arrived("initialize", 2)
        second = upstream.begin("second")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()

        assert await second == "second"
        assert await upstream.call("third") == "third"
        assert len(upstream.site.of("initialize")) == 2
        # Who came while it was begun waited, rather than being sent without a session.
        assert [request.headers.get(SESSION) for request in upstream.site.of(CALL)] == ["s0", "s2", "s2"]


async def test_without_a_new_session_the_upstream_is_lost(tmp_path: Path) -> None:
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(500)

    async with connected(tmp_path, server) as upstream:
        server.sessions.append("forgotten")
        server.on["initialize"] = refuse
        for _ in range(2):
            with pytest.raises(UpstreamGone, match="no new session could be begun"):
                await upstream.call()
            server.sessions.append("forgotten")
        end = await upstream.upstream.lost()

    assert "HTTP 500" in str(end)


async def test_a_new_session_that_is_never_confirmed_ends_the_upstream(tmp_path: Path) -> None:
    server = Server()

    async def never(request: Request) -> None:
        await request.gone()

    async with connected(tmp_path, server) as upstream:
        upstream.upstream._timeout = 0.2
        server.sessions.append("forgotten")
        server.on["notifications/initialized"] = never
        with pytest.raises(UpstreamGone, match="did not confirm"):
            await upstream.call()


async def test_a_new_session_has_a_stream_of_its_own(tmp_path: Path) -> None:
    server = Server()
    ended: list[str] = []

    async def listen(request: Request) -> None:
        request.begin()
        request.event({"method": f"notifications/of-{request.headers[SESSION]}"}, id="7")
        await request.gone()
        ended.append(request.headers[SESSION])

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/of-s0" in upstream.heard.methods, "the first stream")
        server.sessions.append("forgotten")

        assert await upstream.call() == "a"
        await eventually(lambda: "notifications/of-s2" in upstream.heard.methods, "the second stream")
        await eventually(lambda: ended, "the end of the first")
        streams = [request for request in upstream.site.requests if request.method == "GET"]

    assert ["last-event-id" in request.headers for request in streams] == [False, False]
    assert "notifications/tools/list_changed" in upstream.heard.methods
    assert sorted(ended) == ["s0", "s2"]


# Calls that are given up


async def given_up(
    tmp_path: Path, server: Server, give_up: Callable[[asyncio.Task[str]], object]
) -> Connected:
    """A call that is given up while its stream is open; the server sees the end of it."""
    closed = asyncio.Event()

    async def hold(request: Request) -> None:
        request.begin()
        request.event({"method": "notifications/progress", "params": {}})
        await request.gone()
        closed.set()

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = hold
        call = upstream.begin(timeout=0.5)
        await upstream.site.arrived(CALL)
        give_up(call)
        with pytest.raises((asyncio.CancelledError, UpstreamTimeout)):
            await call
        async with asyncio.timeout(WITHIN):
            await closed.wait()
        if not upstream.upstream.modern:
            await upstream.site.arrived("notifications/cancelled")
        del server.on[CALL]
        assert await upstream.call("next") == "next"
    return upstream


@pytest.mark.parametrize(
    "give_up", [lambda call: call.cancel(), lambda call: None], ids=["cancelled", "timeout"]
)
async def test_a_modern_server_learns_of_a_cancellation_by_the_end_of_the_stream(
    tmp_path: Path, give_up: Callable[[asyncio.Task[str]], object]
) -> None:
    upstream = await given_up(tmp_path, Server(modern=True), give_up)

    assert upstream.upstream.modern
    assert [request.rpc for request in upstream.site.requests] == ["server/discover", CALL, CALL]


@pytest.mark.parametrize(
    "give_up", [lambda call: call.cancel(), lambda call: None], ids=["cancelled", "timeout"]
)
async def test_a_legacy_server_is_told_of_a_cancellation(
    tmp_path: Path, give_up: Callable[[asyncio.Task[str]], object]
) -> None:
    upstream = await given_up(tmp_path, Server(), give_up)

    (told,) = upstream.site.of("notifications/cancelled")
    assert told.message["params"]["requestId"] == upstream.site.of(CALL)[0].id
    assert told.headers[SESSION] == "s0"


async def test_closing_ends_calls_and_streams_and_the_session(tmp_path: Path) -> None:
    server = Server()
    closed: list[str] = []

    async def hold(request: Request) -> None:
        request.begin()
        await request.gone()
        closed.append(request.method)

    async with connected(tmp_path, server) as upstream:
        server.on |= {CALL: hold, "GET": hold}
        call = upstream.begin()
        await upstream.site.arrived(CALL)
        await upstream.upstream.close()
        with pytest.raises(UpstreamGone, match="closed"):
            await call
        with pytest.raises(UpstreamGone, match="closed"):
            await upstream.call()
        await eventually(lambda: "POST" in closed, "the server sees the end of the call")
        assert [
            request.headers[SESSION] for request in upstream.site.requests if request.method == "DELETE"
        ] == ["s0"]


# Pauses


async def test_a_pause_stops_the_reading_and_loses_nothing(tmp_path: Path) -> None:
    server = Server()
    paused = asyncio.Event()

    async def talk(request: Request) -> None:
        request.begin()
        request.event({"method": "notifications/one"})
        await paused.wait()
        for n in range(100):
            request.event({"method": f"notifications/{n}"})
        request.event(result(request, "talkative"))

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = talk
        call = upstream.begin()
        await eventually(lambda: upstream.heard.methods, "the first notification")
        upstream.upstream.set_paused(True)
        paused.set()
        del server.on[CALL]
        # Another answer, on its own connection, passes all the same.
        assert await upstream.call("other") == "other"
        heard_meanwhile = len(upstream.heard.methods)
        upstream.upstream.set_paused(False)

        assert await call == "talkative"
        assert upstream.heard.methods[1:] == [f"notifications/{n}" for n in range(100)]
    assert heard_meanwhile == 1


# Answers


async def test_an_answer_on_the_stream_of_another_request_reaches_nobody(tmp_path: Path) -> None:
    server = Server()
    arrived: dict[str, Request] = {}

    async def confuse(request: Request) -> None:
        name = request.message["params"]["name"]
        arrived[name] = request
        await eventually(lambda: len(arrived) == 2, "both calls")
        other = arrived["a" if name == "b" else "b"]
        request.begin()
        for id in (other.id, str(request.id), None, request.id + 1000):
            request.event({"id": id, "result": {"name": "wrong"}})
        request.event({"id": other.id, "error": {"code": 1, "message": "wrong"}})
        request.event(b'{"jsonrpc":"2.0","id":%d}' % other.id)
        await asyncio.sleep(0)
        request.event(result(request, name))

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = confuse

        assert [*await asyncio.gather(upstream.call("a"), upstream.call("b"))] == ["a", "b"]


async def test_a_json_answer_of_another_id_fails_its_own_call_only(tmp_path: Path) -> None:
    server = Server()
    both = asyncio.Event()

    async def confuse(request: Request) -> None:
        if request.message["params"]["name"] == "a":
            await both.wait()
            request.result({"name": "a"})
            return
        (first, *_) = upstream.site.of(CALL)
        request.answer(200, {"jsonrpc": "2.0", **result(request, "wrong", first.id)})

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = confuse
        first = upstream.begin("a")
        await upstream.site.arrived(CALL)
        with pytest.raises(UpstreamFailed, match="not the JSON-RPC answer"):
            await upstream.call("b")
        both.set()

        assert await first == "a"


async def test_what_refuses_a_request_need_not_know_its_id(tmp_path: Path) -> None:
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}})

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = refuse
        with pytest.raises(UpstreamRefused) as refused:
            await upstream.call()

    assert refused.value.code == -32600


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 404, 429, 500, 503])
async def test_a_status_without_an_answer_fails_one_call(tmp_path: Path, status: int) -> None:
    server = Server(modern=True)

    async def empty(request: Request) -> None:
        request.answer(status)

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = empty
        with pytest.raises(UpstreamFailed) as failed:
            await upstream.call()
        del server.on[CALL]

        assert await upstream.call() == "a"
    assert isinstance(failed.value, HttpStatus) is (status >= 300)


async def test_an_array_holds_the_answer_among_others(tmp_path: Path) -> None:
    server = Server()

    async def batch(request: Request) -> None:
        others = [
            {"jsonrpc": "2.0", "method": "notifications/x"},
            {"jsonrpc": "2.0", **result(request, "no", 99)},
        ]
        request.answer(200, [*others, {"jsonrpc": "2.0", **result(request, "batched")}])

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = batch

        assert await upstream.call() == "batched"
        assert upstream.heard.methods == ["notifications/x"]


@pytest.mark.parametrize("form", ["json", "sse"])
async def test_an_answer_that_is_too_large_fails_its_call_before_its_end(tmp_path: Path, form: str) -> None:
    server = Server()
    closed = asyncio.Event()

    async def endless(request: Request) -> None:
        request.begin(200, "application/json" if form == "json" else "text/event-stream")
        request.write(
            (b"data: " if form == "sse" else b"") + b'{"jsonrpc":"2.0","id":%d,"result":{"x":"' % request.id
        )
        request.write(b"x" * (2 << 20))
        await request.gone()
        closed.set()

    async with connected(tmp_path, server, max_size=1 << 20) as upstream:
        server.on[CALL] = endless
        with pytest.raises(UpstreamFailed, match="larger than 1 MiB"):
            await upstream.call()
        async with asyncio.timeout(WITHIN):
            await closed.wait()
        del server.on[CALL]

        assert await upstream.call() == "a"


async def test_a_message_that_is_too_large_fails_no_call_of_another_stream(tmp_path: Path) -> None:
    server = Server()
    answered = asyncio.Event()

    async def confuse(request: Request) -> None:
        if request.message["params"]["name"] == "a":
            await answered.wait()
            request.result({"name": "a"})
            return
        (first, *_) = upstream.site.of(CALL)
        request.begin()
        request.event(b'{"jsonrpc":"2.0","id":%d,"result":{"x":"%b"}}' % (first.id, b"x" * (2 << 20)))
        request.event(result(request, "b"))

    async with connected(tmp_path, server, max_size=1 << 20) as upstream:
        server.on[CALL] = confuse
        first = upstream.begin("a")
        await upstream.site.arrived(CALL)

        assert await upstream.call("b") == "b"
        answered.set()
        assert await first == "a"


# Streams that break


async def test_a_stream_that_breaks_within_an_event_is_taken_up_before_it(tmp_path: Path) -> None:
    server = Server()
    calls: list[Request] = []

    async def break_off(request: Request) -> None:
        calls.append(request)
        request.begin()
        request.write(b"retry: 10\n")
        request.event({"method": "notifications/one"}, id="e1")
        request.write(b'id: e2\ndata: {"jsonrpc":"2.0",')

    async def resume(request: Request) -> None:
        if "last-event-id" not in request.headers:
            request.answer(405)
            return
        request.begin()
        request.event(result(calls[0], request.headers["last-event-id"]), id="e2")

    server.on |= {CALL: break_off, "GET": resume}
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "e1"
        assert upstream.heard.methods == ["notifications/one"]
        assert len(calls) == 1


async def test_a_stream_that_always_breaks_is_given_up(tmp_path: Path) -> None:
    server = Server()

    async def break_off(request: Request) -> None:
        if request.method == "GET" and "last-event-id" not in request.headers:
            request.answer(405)
            return
        request.begin()
        request.write(b"retry: 1\nid: e1\ndata:\n\n")

    server.on |= {CALL: break_off, "GET": break_off}
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamGone, match="before the answer came"):
            await upstream.call()
        resumed = [request for request in upstream.site.requests if "last-event-id" in request.headers]

    assert len(resumed) == answer_stream.RESUMPTIONS


async def test_a_server_that_says_when_to_come_again_is_asked_at_that_pace(tmp_path: Path) -> None:
    server = Server()

    async def poll(request: Request) -> None:
        number = int(request.headers.get("last-event-id", "0")) + 1
        request.begin()
        request.write(b"retry: 50\n")
        request.event({"method": f"notifications/{number}"}, id=str(number))

    server.on["GET"] = poll
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: len(upstream.heard.methods) >= 6, "six streams, one after the other")

        assert upstream.heard.methods[:6] == [f"notifications/{n}" for n in range(1, 7)]


async def test_a_modern_stream_is_never_taken_up_again(tmp_path: Path) -> None:
    server = Server(modern=True)

    async def break_off(request: Request) -> None:
        request.begin()
        request.write(b"retry: 1\nid: e1\ndata:\n\n")

    server.on[CALL] = break_off
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamGone, match="before the answer came"):
            await upstream.call()

        assert all(request.method == "POST" for request in upstream.site.requests)
