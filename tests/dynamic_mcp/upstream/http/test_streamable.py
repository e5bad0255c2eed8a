"""Streamable HTTP with concurrent requests: sessions that end, cancelled calls, answers to other requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import (
    HttpStatus,
    SignInNeeded,
    Unreachable,
    UpstreamFailed,
    UpstreamGone,
    UpstreamRefused,
    UpstreamTimeout,
)
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.protocol import era, versions
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.http import own_stream, reply_stream
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.events import RecordedEvents
from tests.dynamic_mcp.upstream.http.scripted_server import Handler, Request, Site, site

pytestmark = pytest.mark.usefixtures("own_proxies")

CALL = "tools/call"
SESSION = "mcp-session-id"


@pytest.fixture
def own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


class Server:
    """A server of one era, with sessions if legacy; ``on`` replaces the default answer to a method, or to the verb GET."""

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
        """Give the default answer."""
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
            request.result({"name": request.message.get("params", {}).get("name")})


class OpenUpstream:
    """An open upstream over a server."""

    def __init__(self, upstream: StreamableHttpUpstream, server: Site, events: RecordedEvents) -> None:
        self.upstream = upstream
        self.site = server
        self.events = events

    async def call(self, name: str = "a", timeout: float = WITHIN) -> str:
        """Call a tool; the name in its result."""
        params = json.dumps({"name": name}).encode()
        value = json.loads(await self.upstream.request(CALL, params, Options(timeout)))
        assert isinstance(value, dict)
        return str(value["name"])

    def begin(self, name: str = "a", timeout: float = WITHIN) -> asyncio.Task[str]:
        """The same in the background."""
        return asyncio.create_task(self.call(name, timeout))


@asynccontextmanager
async def connected(
    tmp_path: Path,
    server: Server,
    max_size: int = MAX_MESSAGE,
    events: RecordedEvents | None = None,
) -> AsyncIterator[OpenUpstream]:
    """An open upstream over a server. Afterwards no task is left on either side."""
    before = asyncio.all_tasks()
    events = events or RecordedEvents()
    async with site(server) as running:
        transport = RemoteTransport(Secret(running.url))
        client = HttpClient(running.url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = StreamableHttpUpstream(client, events, max_size=max_size)
        try:
            await upstream.open(WITHIN)
            yield OpenUpstream(upstream, running, events)
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
async def test_any_other_answer_to_the_probe_means_legacy(
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


async def test_calls_with_a_forgotten_session_begin_one_new_session(tmp_path: Path) -> None:
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


async def test_new_session_survives_the_cancellation_of_its_first_call(tmp_path: Path) -> None:
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
        # The call that came meanwhile waited for the new session.
        assert [request.headers.get(SESSION) for request in upstream.site.of(CALL)] == ["s0", "s2", "s2"]


async def test_upstream_is_lost_if_no_new_session_begins(tmp_path: Path) -> None:
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
        end = await upstream.upstream.wait_lost()

    assert "HTTP 500" in str(end)


async def test_unconfirmed_new_session_ends_the_upstream(tmp_path: Path) -> None:
    server = Server()

    async def never(request: Request) -> None:
        await request.gone()

    async with connected(tmp_path, server) as upstream:
        upstream.upstream._timeout = 0.2
        server.sessions.append("forgotten")
        server.on["notifications/initialized"] = never
        with pytest.raises(UpstreamGone, match="did not confirm"):
            await upstream.call()


async def test_new_session_opens_its_own_stream(tmp_path: Path) -> None:
    server = Server()
    ended: list[str] = []

    async def listen(request: Request) -> None:
        request.begin()
        request.event({"method": f"notifications/of-{request.headers[SESSION]}"}, id="7")
        await request.gone()
        ended.append(request.headers[SESSION])

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: "notifications/of-s0" in upstream.events.methods, "the first stream")
        server.sessions.append("forgotten")

        assert await upstream.call() == "a"
        await eventually(lambda: "notifications/of-s2" in upstream.events.methods, "the second stream")
        await eventually(lambda: ended, "the end of the first")
        streams = [request for request in upstream.site.requests if request.method == "GET"]

    assert ["last-event-id" in request.headers for request in streams] == [False, False]
    assert upstream.events.new_sessions == 1
    assert sorted(ended) == ["s0", "s2"]


async def test_server_delivers_notifications_only_while_its_own_stream_is_open(tmp_path: Path) -> None:
    server = Server()
    end = asyncio.Event()

    async def listen(request: Request) -> None:
        request.begin()
        await end.wait()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        assert upstream.events.streams_opened == 1
        del server.on["GET"]
        end.set()
        await eventually(lambda: not upstream.upstream.delivers_notifications, "the end of the stream")
        await eventually(
            lambda: [one.method for one in upstream.site.requests].count("GET") == 2, "the refusal"
        )
        assert not upstream.upstream.delivers_notifications
        assert upstream.events.streams_opened == 1


async def test_404_to_the_own_stream_begins_a_new_session(tmp_path: Path) -> None:
    server = Server()
    forget = asyncio.Event()

    async def listen(request: Request) -> None:
        if request.headers[SESSION] != server.sessions[-1]:
            request.answer(404)
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
        assert server.sessions == ["s0", "forgotten", "s2"]
        assert not upstream.site.of(CALL)


@pytest.mark.parametrize("streams", [0, 1])
async def test_404_to_every_get_does_not_begin_session_after_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Server()
    opened: list[str] = []

    async def listen(request: Request) -> None:
        if opened.count(request.headers[SESSION]) < streams:
            opened.append(request.headers[SESSION])
            request.begin()
        else:
            request.answer(404)

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        refused = 5 + 2 * streams
        await eventually(
            lambda: [one.method for one in upstream.site.requests].count("GET") >= refused, "many refusals"
        )
        assert upstream.events.new_sessions == streams


# Abandoned calls


async def abandoned(
    tmp_path: Path, server: Server, abandon: Callable[[asyncio.Task[str]], object]
) -> OpenUpstream:
    """Abandon a call while its stream is open; the server sees the end of the stream."""
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
        abandon(call)
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
    "abandon", [lambda call: call.cancel(), lambda call: None], ids=["cancelled", "timeout"]
)
async def test_end_of_the_stream_cancels_a_modern_call(
    tmp_path: Path, abandon: Callable[[asyncio.Task[str]], object]
) -> None:
    upstream = await abandoned(tmp_path, Server(modern=True), abandon)

    assert upstream.upstream.modern
    assert [request.rpc for request in upstream.site.requests] == ["server/discover", CALL, CALL]


@pytest.mark.parametrize(
    "abandon", [lambda call: call.cancel(), lambda call: None], ids=["cancelled", "timeout"]
)
async def test_cancelled_notification_cancels_a_legacy_call(
    tmp_path: Path, abandon: Callable[[asyncio.Task[str]], object]
) -> None:
    upstream = await abandoned(tmp_path, Server(), abandon)

    (notification,) = upstream.site.of("notifications/cancelled")
    assert notification.message["params"]["requestId"] == upstream.site.of(CALL)[0].id
    assert notification.headers[SESSION] == "s0"


async def test_close_ends_calls_streams_and_the_session(tmp_path: Path) -> None:
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


async def test_pause_stops_reading_and_loses_nothing(tmp_path: Path) -> None:
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
        await eventually(lambda: upstream.events.methods, "the first notification")
        upstream.upstream.set_paused(True)
        paused.set()
        del server.on[CALL]
        # Another answer, on its own connection, still passes.
        assert await upstream.call("other") == "other"
        events_meanwhile = len(upstream.events.methods)
        upstream.upstream.set_paused(False)

        assert await call == "talkative"
        assert upstream.events.methods[1:] == [f"notifications/{n}" for n in range(100)]
    assert events_meanwhile == 1


# Answers


async def test_answers_on_the_stream_of_another_request_are_dropped(tmp_path: Path) -> None:
    server = Server()
    arrived: dict[str, Request] = {}

    async def confuse(request: Request) -> None:
        name = request.message["params"]["name"]
        arrived[name] = request
        await eventually(lambda: len(arrived) == 2, "both calls")
        other = arrived["a" if name == "b" else "b"]
        request.begin()
        for id in (other.id, str(other.id), None, request.id + 1000):
            request.event({"id": id, "result": {"name": "wrong"}})
        request.event({"id": other.id, "error": {"code": 1, "message": "wrong"}})
        request.event(b'{"jsonrpc":"2.0","id":%d}' % other.id)
        await asyncio.sleep(0)
        request.event(result(request, name))

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = confuse

        assert [*await asyncio.gather(upstream.call("a"), upstream.call("b"))] == ["a", "b"]


async def test_json_answer_with_another_id_fails_only_its_own_call(tmp_path: Path) -> None:
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


async def test_refusal_with_a_null_id_is_accepted(tmp_path: Path) -> None:
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}})

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = refuse
        with pytest.raises(UpstreamRefused) as refused:
            await upstream.call()

    assert refused.value.code == -32600


@pytest.mark.parametrize("status", [200, 202, 204, 302, 400, 404, 429, 500, 503])
async def test_status_without_an_answer_fails_one_call(tmp_path: Path, status: int) -> None:
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


async def test_answer_in_an_array_is_found(tmp_path: Path) -> None:
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
        assert upstream.events.methods == ["notifications/x"]


@pytest.mark.parametrize("form", ["json", "sse"])
async def test_bytes_that_are_not_utf8_do_not_cost_the_answer(tmp_path: Path, form: str) -> None:
    server = Server()

    async def answer(request: Request) -> None:
        body = json.dumps({"jsonrpc": "2.0", **result(request, "caf!")}).encode().replace(b"!", b"\xe9")
        if form == "json":
            request.answer(200, body)
        else:
            request.begin()
            request.event(body)

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = answer

        assert await upstream.call() == "caf\ufffd"


async def test_batch_in_an_event_is_read(tmp_path: Path) -> None:
    server = Server()

    async def batch(request: Request) -> None:
        messages = [
            {"jsonrpc": "2.0", "method": "notifications/x"},
            {"jsonrpc": "2.0", **result(request, "no", 99)},
            {"jsonrpc": "2.0", **result(request, "batched")},
            {"jsonrpc": "2.0", "method": "notifications/y"},
        ]
        request.begin()
        request.event(json.dumps(messages[:1]).encode())
        request.event(json.dumps(messages[1:]).encode())

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = batch

        assert await upstream.call() == "batched"
        assert upstream.events.methods == ["notifications/x", "notifications/y"]


@pytest.mark.parametrize("form", ["json", "sse"])
async def test_oversized_answer_fails_its_call_before_its_end(tmp_path: Path, form: str) -> None:
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


async def test_oversized_message_fails_no_call_of_another_stream(tmp_path: Path) -> None:
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


def oversized_question(id: int) -> bytes:
    return b'{"method":"sampling/createMessage","params":{"x":"%b"},"jsonrpc":"2.0","id":%d}' % (
        b"x" * (2 << 20),
        id,
    )


@pytest.mark.parametrize("stream", ["own", "answer"])
async def test_oversized_request_is_refused_and_the_call_with_its_id_goes_on(
    tmp_path: Path, stream: str
) -> None:
    server = Server()
    refused = asyncio.Event()
    refusals: list[dict[str, Any]] = []

    async def ask(request: Request) -> None:
        (call,) = await upstream.site.arrived(CALL)
        request.begin()
        request.event(oversized_question(call.id))
        await refused.wait()
        if stream == "answer":
            request.event(result(call, "b"))

    async def take(request: Request) -> None:
        if request.method == "GET" and stream == "own":
            await ask(request)
        elif request.rpc is None and request.message:
            refusals.append(request.message)
            request.answer(202)
            refused.set()
        else:
            server.by_default(request)

    async def call(request: Request) -> None:
        if stream == "answer":
            await ask(request)
        else:
            await refused.wait()
            request.result({"name": "b"})

    server.on = {"GET": take, "POST": take, CALL: call}
    async with connected(tmp_path, server, max_size=1 << 20) as upstream:
        assert await upstream.call() == "b"
        (refusal,) = refusals
        (called,) = upstream.site.of(CALL)
        assert (refusal["id"], refusal["error"]["message"]) == (called.id, "the message is larger than 1 MiB")


# Streams that break


async def test_stream_broken_within_an_event_resumes_before_it(tmp_path: Path) -> None:
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
        assert upstream.events.methods == ["notifications/one"]
        assert len(calls) == 1


async def test_resumption_is_given_up_after_five_attempts(tmp_path: Path) -> None:
    server = Server()

    async def break_off(request: Request) -> None:
        if request.method == "GET" and "last-event-id" not in request.headers:
            request.answer(405)
            return
        request.begin()
        request.write(b"retry: 1\nid: e1\ndata:\n\n")

    server.on |= {CALL: break_off, "GET": break_off}
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamFailed, match="ended its event stream without an answer"):
            await upstream.call()
        resumed = [request for request in upstream.site.requests if "last-event-id" in request.headers]

    assert len(resumed) == reply_stream.MAX_RESUMPTIONS


@pytest.mark.slow
@pytest.mark.parametrize("refusals", [0, 4, 5])
async def test_stream_with_new_ids_is_resumed_as_often_as_it_ends(tmp_path: Path, refusals: int) -> None:
    server = Server()
    calls: list[Request] = []
    refused: list[Request] = []

    async def break_off(request: Request) -> None:
        calls.append(request)
        request.begin()
        request.write(b"retry: 1\nid: 0\ndata:\n\n")

    async def poll(request: Request) -> None:
        last = int(request.headers.get("last-event-id", "-1"))
        if last < 0:
            request.answer(405)
        elif last == 7 and len(refused) < refusals:
            refused.append(request)
            request.answer(504)
        else:
            request.begin()
            if last == 8:
                request.event(result(calls[0], "at last"), id="9")
            else:
                request.write(b"id: %d\ndata:\n\n" % (last + 1))

    server.on |= {CALL: break_off, "GET": poll}
    async with connected(tmp_path, server) as upstream:
        if refusals == reply_stream.MAX_RESUMPTIONS:
            with pytest.raises(UpstreamFailed, match="ended its event stream without an answer"):
                await upstream.call()
        else:
            assert await upstream.call() == "at last"

    assert len(calls) == 1


async def test_answer_is_resumed_once_the_server_accepts_connections_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_stream, "RETRY_DELAY", 0.05)
    server = Server()
    calls: list[Request] = []

    async def break_off(request: Request) -> None:
        calls.append(request)
        request.begin()
        request.write(b"id: e1\ndata:\n\n")
        upstream.site.close()

    async def resume(request: Request) -> None:
        if "last-event-id" not in request.headers:
            request.answer(405)
        elif len(resumed := [one for one in upstream.site.requests if "last-event-id" in one.headers]) > 1:
            request.begin()
            request.event(result(calls[0], f"after {len(resumed)}"), id="e2")

    server.on |= {CALL: break_off, "GET": resume}
    async with connected(tmp_path, server) as upstream:
        call = upstream.begin()
        await upstream.site.arrived(CALL)
        await asyncio.sleep(0.12)
        await upstream.site.listen_again()
        # The first resumption gets no reply.
        assert await call == "after 2"


@pytest.mark.parametrize("is_refused", [True, False])
async def test_server_that_stays_away_fails_a_call_that_may_have_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_refused: bool
) -> None:
    monkeypatch.setattr(reply_stream, "RETRY_DELAY", 0.02)
    caplog.set_level("DEBUG", "dynamic_mcp")
    server = Server()

    async def break_off(request: Request) -> None:
        request.begin()
        request.write(b"id: e1\ndata:\n\n")
        if is_refused:
            upstream.site.close()

    async def stay_away(request: Request) -> None:
        if "last-event-id" not in request.headers:
            request.answer(405)

    server.on |= {CALL: break_off, "GET": stay_away}
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamGone, match="before the answer came") as caught:
            await upstream.call()
    assert not isinstance(caught.value, Unreachable)
    in_vain = [text for text in caplog.messages if text.startswith("a stream was not resumed")]
    assert len(in_vain) == reply_stream.MAX_RESUMPTIONS


async def test_server_s_own_stream_that_served_for_a_while_is_opened_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "NO_FAILURE_AFTER", 0.0)
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 3600.0)
    server = Server()

    async def cut(request: Request) -> None:
        request.begin()
        request.event({"method": "notifications/one"})

    server.on["GET"] = cut
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: len(upstream.events.methods) >= 4, "four streams, one after the other")


@pytest.mark.parametrize("status", [401, 403, 404, 408, 409, 429, 500, 503])
async def test_refusal_that_may_pass_does_not_end_the_server_s_own_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Server()
    asked: list[int] = []
    streams: list[Request] = []

    async def handle_refusal(
        self: Authorization, status: int, bearer: str | None, challenge: str, kind: str
    ) -> bool:
        asked.append(status)
        raise SignInNeeded("it needs you to sign in")

    async def busy(request: Request) -> None:
        streams.append(request)
        if len(streams) < 4:
            request.answer(status)
        else:
            request.begin()
            request.event({"method": "notifications/at-last"})
            await request.gone()

    server.on["GET"] = busy
    monkeypatch.setattr(Authorization, "handle_refusal", handle_refusal)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.events.methods == ["notifications/at-last"], "the stream")

    # A renewal for each attempt would use up tokens that work for calls.
    assert asked == ([status] if status in (401, 403) else [])


async def test_refused_listen_request_uses_up_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(modern=True)
    asked: list[int] = []

    async def handle_refusal(
        self: Authorization, status: int, bearer: str | None, challenge: str, kind: str
    ) -> bool:
        asked.append(status)
        return False

    async def refuse(request: Request) -> None:
        request.answer(401)

    server.on |= {"subscriptions/listen": refuse, CALL: refuse}
    monkeypatch.setattr(Authorization, "handle_refusal", handle_refusal)
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(HttpStatus):
            await upstream.upstream.request("subscriptions/listen", b"{}", Options(None))
        assert asked == []
        with pytest.raises(HttpStatus):
            await upstream.call()
        assert asked == [401]


async def test_token_that_cannot_be_renewed_now_does_not_end_the_server_s_own_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server = Server()
    failures = 0
    has_begun = False

    async def begin(request: Request) -> None:
        nonlocal has_begun
        has_begun = True
        server.by_default(request)

    async def bearer(self: Authorization) -> str | None:
        nonlocal failures
        if has_begun and failures < 3:
            failures += 1
            raise TransientFailure("its token endpoint cannot be reached")
        return None

    async def listen(request: Request) -> None:
        request.begin()
        request.event({"method": "notifications/at-last"})
        await request.gone()

    server.on |= {"GET": listen, "notifications/initialized": begin}
    monkeypatch.setattr(Authorization, "bearer", bearer)
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.events.methods == ["notifications/at-last"], "the stream")

    assert failures == 3


@pytest.mark.parametrize("status", [400, 405, 406, 501])
async def test_server_without_a_stream_of_its_own_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.0)
    server = Server()

    async def refuse(request: Request) -> None:
        request.answer(status)

    server.on["GET"] = refuse
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: [one.method for one in upstream.site.requests].count("GET"), "the question")
        for _ in range(3):
            assert await upstream.call() == "a"

        assert [one.method for one in upstream.site.requests].count("GET") == 1


async def test_retry_time_of_the_server_sets_the_pace(tmp_path: Path) -> None:
    server = Server()

    async def poll(request: Request) -> None:
        number = int(request.headers.get("last-event-id", "0")) + 1
        request.begin()
        request.write(b"retry: 50\n")
        request.event({"method": f"notifications/{number}"}, id=str(number))

    server.on["GET"] = poll
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: len(upstream.events.methods) >= 6, "six streams, one after the other")

        assert upstream.events.methods[:6] == [f"notifications/{n}" for n in range(1, 7)]


async def test_modern_stream_is_never_resumed(tmp_path: Path) -> None:
    server = Server(modern=True)

    async def break_off(request: Request) -> None:
        request.begin()
        request.write(b"retry: 1\nid: e1\ndata:\n\n")

    server.on[CALL] = break_off
    async with connected(tmp_path, server) as upstream:
        with pytest.raises(UpstreamFailed, match="ended its event stream without an answer"):
            await upstream.call()

        assert all(request.method == "POST" for request in upstream.site.requests)


async def test_stream_of_http_sse_is_no_answer(tmp_path: Path) -> None:
    server = Server()

    async def open_stream(request: Request) -> None:
        request.begin()
        request.write(b"event: endpoint\ndata: /messages?session=1\n\n")
        await request.gone()

    server.on["initialize"] = open_stream
    with pytest.raises(UpstreamFailed, match=r"its url is that of an HTTP\+SSE server"):
        async with connected(tmp_path, server):
            pass


@pytest.mark.parametrize("status", [201, 202])
async def test_event_stream_is_read_with_any_good_status(tmp_path: Path, status: int) -> None:
    server = Server()

    async def created(request: Request) -> None:
        request.begin(status)
        request.event({"id": request.id, "result": {"name": "created"}})

    server.on[CALL] = created
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "created"


@pytest.mark.parametrize(
    "kind", ["application/json-rpc", "application/json, application/json", "application/jsonrequest"]
)
async def test_other_names_of_json_are_read(tmp_path: Path, kind: str) -> None:
    server = Server()

    async def named(request: Request) -> None:
        request.result({"name": "read"}, kind=kind)

    server.on[CALL] = named
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "read"


async def test_empty_session_id_is_none(tmp_path: Path) -> None:
    server = Server()

    async def greet(request: Request) -> None:
        request.result({"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}}, Mcp_Session_Id="")

    async def answer(request: Request) -> None:
        request.result({"name": str(SESSION in request.headers)})

    server.on |= {"initialize": greet, CALL: answer}
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "False"
