"""Several clients of one proxy: nothing of one client means anything to another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw

from dynamic_mcp.config.diff import diff
from dynamic_mcp.config.model import Config, Features, Server, StdioTransport, Timeouts
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.frontend import clients as clients_module
from dynamic_mcp.frontend.clients import Client, Clients, TooManyClients
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listener import GroupListener
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Handshake, Upstream
from tests.dynamic_mcp.fakes import REQUEST_META, NoConnector
from tests.dynamic_mcp.helpers import eventually

SAMPLING: dict[str, object] = {"sampling": {}}
LISTS = {"tools/list": {"tools": [{"name": "act"}]}, "resources/list": {"resources": [{"uri": "x://1"}]}}


class FakeServer:
    """A legacy server on the other side of a real peer. It answers lists at once, and calls when the test says so."""

    def __init__(self, server: Server, events: Events) -> None:
        assert isinstance(server.transport, StdioTransport)
        self.name, self.folder = server.name, server.transport.cwd
        self.told = json.loads(events.capabilities())
        self.modern, self.delivers_notifications, self.paused, self.closed = False, True, False, False
        self.agreed = Handshake(
            {name: Raw(b"{}") for name in ("tools", "resources", "logging")}, version="2025-11-25"
        )
        #: every message to the server
        self.received: list[dict[str, Any]] = []
        self.peer = Peer(
            lambda message: self._receive(json.loads(message.line)), events.on_notification, events.on_request
        )

    def _receive(self, message: dict[str, Any]) -> None:
        self.received.append(message)
        method = message.get("method", "")
        if "id" in message and (method in LISTS or method.endswith(("subscribe", "setLevel"))):
            self.answer(message, LISTS.get(method, {}))

    def answer(self, request: dict[str, Any], result: object) -> None:
        self.send(id=request["id"], result=result)

    def send(self, **message: object) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}).encode()
        asyncio.get_running_loop().call_soon(self.peer.receive, line)

    def requests(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message.get("method") == method]

    async def asks(self, id: str, text: str) -> dict[str, Any]:
        """Ask for a sample; the answer."""
        self.send(id=id, method="sampling/createMessage", params={"systemPrompt": text, "messages": []})
        found = await eventually(
            lambda: [message for message in self.received if message.get("id") == id], "an answer"
        )
        return found[0]

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        return None

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        return await self.peer.request(method, params, options)

    def learn_tool(self, name: str, definition: Raw) -> str:
        return ""

    def notify(self, method: str, params: bytes = b"") -> None:
        self.peer.notify(method, params)

    async def wait_lost(self) -> UpstreamGone:
        never: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()
        return await never

    def stderr_tail(self) -> str:
        return ""

    def set_paused(self, paused: bool) -> None:
        self.paused = paused

    async def close(self) -> None:
        self.closed = True
        self.peer.close(UpstreamFailed("the connection was closed"))


class Person:
    """A client of the proxy, with every message that it got."""

    def __init__(self, proxy: Proxy, capabilities: dict[str, object], **options: Any) -> None:
        self.got: list[dict[str, Any]] = []
        self.client: Client = proxy.clients.open(lambda line: self.got.append(json.loads(line)), **options)
        self._capabilities = capabilities

    def send(self, **message: object) -> None:
        self.client.router.receive(json.dumps({"jsonrpc": "2.0", **message}).encode())

    async def handshake(self) -> Person:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": self._capabilities,
            "clientInfo": {"name": "c", "version": "1"},
        }
        self.send(id="hello", method="initialize", params=params)
        self.send(method="notifications/initialized")
        await self.answer("hello")
        return self

    def call(self, id: object, group: str = "a", **meta: object) -> None:
        params = {"name": "call_dynamic_tool", "arguments": {"group": group, "name": "act"}, "_meta": meta}
        self.send(id=id, method="tools/call", params=params)

    async def answer(self, id: object) -> dict[str, Any]:
        found = await eventually(lambda: [m for m in self.got if m.get("id") == id], f"an answer to {id!r}")
        return found[0]

    async def heard(self, method: str) -> dict[str, Any]:
        return (await eventually(lambda: self.all(method), method))[0]

    def all(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message.get("method") == method]


class Proxy:
    """Clients over fake servers."""

    def __init__(self, config: Config, linger: float) -> None:
        self.servers: list[FakeServer] = []
        self.clients = Clients(config, self._make, Hooks(), linger)

    def _make(self, server: Server, listener: GroupListener[Group]) -> Group:
        proxy = self

        class Connector(NoConnector):
            def connect(self, events: Events) -> Upstream:
                proxy.servers.append(FakeServer(server, events))
                return proxy.servers[-1]

            def turn(self, is_wanted: Callable[[], bool]) -> AbstractAsyncContextManager[None]:
                return nullcontext()

        return Group(server, Connector(), listener, Hooks())

    async def person(self, capabilities: dict[str, object] = SAMPLING, **options: Any) -> Person:
        return await Person(self, capabilities, **options).handshake()

    async def calls(self, count: int) -> list[dict[str, Any]]:
        """The calls that the servers got, once there are this many."""

        def found() -> list[dict[str, Any]]:
            return [call for server in self.servers for call in server.requests("tools/call")]

        await eventually(lambda: len(found()) >= count, f"{count} calls")
        return found()

    def apply(self, config: Config) -> None:
        self.clients.apply(config, diff(self.clients.config, config))


def server(name: str, *, shared: bool = True, cwd: str | None = None) -> Server:
    transport = StdioTransport("false", (), (), cwd=cwd)
    features = Features(prompts=False)
    return Server(name, "A server", transport, features, Timeouts(tools=5.0), shared=shared)


@asynccontextmanager
async def running(*servers: Server, linger: float = 60.0) -> AsyncIterator[Proxy]:
    proxy = Proxy(Config(servers or (server("a"),)), linger)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.clients.run)
        yield proxy
        await proxy.clients.close()
        tasks.cancel_scope.cancel()


async def test_clients_share_one_server_and_keep_their_ids_and_progress() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.call(1, progressToken="t")
        (first,) = await proxy.calls(1)
        two.call(1, progressToken="t")
        _, second = await proxy.calls(2)
        (shared,) = proxy.servers
        for call in (second, first):
            token = call["params"]["_meta"]["progressToken"]
            shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
            shared.answer(call, {"content": [], "is": call["id"]})
        assert (await one.answer(1))["result"]["is"] == first["id"]
        assert (await two.answer(1))["result"]["is"] == second["id"]
        for person in (one, two):
            (progress,) = person.all("notifications/progress")
            assert progress["params"]["progressToken"] == "t"


async def test_cancellation_reaches_only_the_call_of_its_client() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.call(1)
        (first,) = await proxy.calls(1)
        two.call(2)
        two.send(method="notifications/cancelled", params={"requestId": 1})
        two.send(method="notifications/cancelled", params={"requestId": 2})
        (shared,) = proxy.servers
        _, second = await proxy.calls(2) if len(shared.requests("tools/call")) > 1 else (first, None)
        shared.answer(first, {"content": []})
        assert (await one.answer(1))["result"]
        cancelled = [message["params"]["requestId"] for message in shared.requests("notifications/cancelled")]
        assert first["id"] not in cancelled
        assert second is None or cancelled == [second["id"]]


async def test_question_goes_to_the_client_whose_call_is_in_flight() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        two.call("c")
        (call,) = await proxy.calls(1)
        (shared,) = proxy.servers
        asking = asyncio.create_task(shared.asks("q", "hello"))
        question = await two.heard("sampling/createMessage")
        # The other client answers the question of this one, which must not count.
        one.send(id=question["id"], result={"stolen": True})
        two.send(id=question["id"], result={"own": True})
        assert (await asking)["result"] == {"own": True}
        assert one.all("sampling/createMessage") == []
        shared.answer(call, {"content": []})
        await two.answer("c")


async def test_question_of_a_call_that_is_over_is_not_written_to_its_ended_stream() -> None:
    async with running() as proxy:
        one = await proxy.person()
        stream: list[bytes] = []
        params = {"name": "call_dynamic_tool", "arguments": {"group": "a", "name": "act"}}
        for id in (1, 2):
            line = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
            one.client.router.receive(json.dumps(line).encode(), stream.append)
        await proxy.calls(2)
        (shared,) = proxy.servers
        one.send(method="notifications/cancelled", params={"requestId": 2})
        await eventually(lambda: shared.requests("notifications/cancelled"), "the cancellation")

        asking = asyncio.create_task(shared.asks("q", "of either"))
        question = json.loads((await eventually(lambda: stream, "the question on the open stream"))[0])
        one.send(id=question["id"], result={})
        assert "result" in await asking

        one.send(method="notifications/cancelled", params={"requestId": 1})
        await eventually(lambda: len(shared.requests("notifications/cancelled")) == 2, "the cancellation")
        asking = asyncio.create_task(shared.asks("r", "late"))
        question = await one.heard("sampling/createMessage")
        one.send(id=question["id"], result={})
        assert "result" in await asking
        assert len(stream) == 1


async def test_question_during_calls_of_two_clients_is_refused() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.call(1)
        two.call(1)
        await proxy.calls(2)
        answer = await proxy.servers[0].asks("q", "hello")
        assert "several have calls in flight" in answer["error"]["message"]
        assert one.all("sampling/createMessage") == two.all("sampling/createMessage") == []


async def test_question_of_a_cancelled_call_does_not_reach_another_client() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.call(1)
        (first,) = await proxy.calls(1)
        one.send(method="notifications/cancelled", params={"requestId": 1})
        two.call(2)
        await proxy.calls(2)
        (shared,) = proxy.servers
        refusal = (await shared.asks("q", "of the first"))["error"]["message"]
        assert "a call of another client has no answer" in refusal
        # The late answer shows that the server has finished the cancelled call.
        shared.answer(first, {"content": []})
        asking = asyncio.create_task(shared.asks("r", "of the second"))
        question = await two.heard("sampling/createMessage")
        two.send(id=question["id"], result={"own": True})
        assert (await asking)["result"] == {"own": True}


async def test_question_of_a_client_that_has_gone_reaches_no_other_one() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.call(1)
        await proxy.calls(1)
        await one.client.close()
        assert (await proxy.servers[0].asks("q", "of the first"))["error"]
        assert two.all("sampling/createMessage") == []


async def test_question_outside_calls_goes_to_a_single_client_only() -> None:
    async with running() as proxy:
        one = await proxy.person()
        await eventually(
            lambda: proxy.servers and proxy.clients.open_clients[1].groups["a"].upstream, "ready"
        )
        asking = asyncio.create_task(proxy.servers[0].asks("q", "hello"))
        question = await one.heard("sampling/createMessage")
        one.send(id=question["id"], result={})
        assert "result" in await asking
        await proxy.person()
        answer = await proxy.servers[0].asks("r", "hello")
        assert "2 clients" in answer["error"]["message"]


async def test_subscription_ends_with_its_last_client() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        for person in (one, two):
            person.send(id="s", method="resources/subscribe", params={"uri": "x://1"})
            await person.answer("s")
        (shared,) = proxy.servers
        one.send(id="u", method="resources/unsubscribe", params={"uri": "x://1"})
        await one.answer("u")
        shared.send(method="notifications/resources/updated", params={"uri": "x://1"})
        await two.heard("notifications/resources/updated")
        assert one.all("notifications/resources/updated") == []
        assert shared.requests("resources/unsubscribe") == []
        await two.client.close()
        await eventually(lambda: shared.requests("resources/unsubscribe"), "the end of the subscription")


async def test_listen_request_of_one_client_is_nothing_to_another() -> None:
    async with running() as proxy:
        one, two = Person(proxy, {}), Person(proxy, {})
        for person in (one, two):
            params = {"_meta": REQUEST_META, "notifications": {"resourceSubscriptions": ["x://1"]}}
            person.send(id="l", method="subscriptions/listen", params=params)
            await person.heard("notifications/subscriptions/acknowledged")
        (shared,) = proxy.servers
        one.send(method="notifications/cancelled", params={"requestId": "l"})
        await asyncio.sleep(0)
        shared.send(method="notifications/resources/updated", params={"uri": "x://1"})
        await two.heard("notifications/resources/updated")
        assert one.all("notifications/resources/updated") == []
        assert shared.requests("resources/unsubscribe") == []


async def test_log_level_of_one_client_changes_nothing_for_another() -> None:
    async with running() as proxy:
        one, two, three = [await proxy.person() for _ in range(3)]
        one.send(id="l", method="logging/setLevel", params={"level": "debug"})
        await one.answer("l")
        three.send(id="l", method="logging/setLevel", params={"level": "error"})
        await three.answer("l")
        (shared,) = proxy.servers
        await eventually(lambda: shared.requests("logging/setLevel"), "the level")
        assert [request["params"]["level"] for request in shared.requests("logging/setLevel")] == ["debug"]
        for level in ("debug", "info", "error"):
            shared.send(method="notifications/message", params={"level": level, "data": level})
        await three.heard("notifications/message")
        levels = [
            [message["params"]["level"] for message in person.all("notifications/message")]
            for person in (one, two, three)
        ]
        assert levels == [["debug", "info", "error"], ["info", "error"], ["error"]]


async def test_state_of_one_client_is_unknown_to_another() -> None:
    def call(person: Person, id: str, **more: object) -> None:
        meta = {**REQUEST_META, "io.modelcontextprotocol/clientCapabilities": SAMPLING}
        arguments = {"group": "a", "name": "act"}
        params = {"name": "call_dynamic_tool", "arguments": arguments, "_meta": meta, **more}
        person.send(id=id, method="tools/call", params=params)

    async with running() as proxy:
        one, two = Person(proxy, {}), Person(proxy, {})
        call(one, "1")
        await proxy.calls(1)
        call(two, "warm-up", requestState="dynamic-mcp:made-up")
        assert "unknown" in (await two.answer("warm-up"))["error"]["message"]
        (shared,) = proxy.servers
        asking = asyncio.create_task(shared.asks("q", "hello"))
        result = (await one.answer("1"))["result"]
        (key,) = result["inputRequests"]
        responses = {"inputResponses": {key: {"own": True}}, "requestState": result["requestState"]}
        call(two, "steals", **responses)
        assert "unknown" in (await two.answer("steals"))["error"]["message"]
        call(one, "2", **responses)
        assert (await asking)["result"] == {"own": True}
        shared.answer((await proxy.calls(1))[0], {"content": []})
        assert (await one.answer("2"))["result"]["resultType"] == "complete"


async def test_clients_without_sessions_continue_a_call_by_its_state() -> None:
    def call(person: Person, **more: object) -> None:
        meta = {**REQUEST_META, "io.modelcontextprotocol/clientCapabilities": SAMPLING}
        arguments = {"group": "a", "name": "act"}
        params = {"name": "call_dynamic_tool", "arguments": arguments, "_meta": meta, **more}
        person.send(id=1, method="tools/call", params=params)

    async with running() as proxy:
        # Each request comes from a client of its own, with the same id.
        posts = [Person(proxy, {}, has_session=False) for _ in range(4)]
        call(posts[0])
        await proxy.calls(1)
        call(posts[1])
        (first, second) = await proxy.calls(2)
        (shared,) = proxy.servers
        shared.answer(second, {"content": []})
        assert "result" in await posts[1].answer(1)
        asking = asyncio.create_task(shared.asks("q", "hello"))
        result = (await posts[0].answer(1))["result"]
        await posts[0].client.close()
        await posts[1].client.close()
        (key,) = result["inputRequests"]
        call(posts[2], inputResponses={key: {"own": True}}, requestState=result["requestState"])
        assert (await asking)["result"] == {"own": True}
        # The upstream still works on the call of a client that has gone.
        asking = asyncio.create_task(shared.asks("r", "again"))
        result = (await posts[2].answer(1))["result"]
        await posts[2].client.close()
        (key,) = result["inputRequests"]
        call(posts[3], inputResponses={key: {"own": 2}}, requestState=result["requestState"])
        assert (await asking)["result"] == {"own": 2}
        shared.answer(first, {"content": [], "is": "done"})
        assert (await posts[3].answer(1))["result"]["is"] == "done"


async def test_servers_stay_while_the_user_of_a_client_without_a_session_thinks() -> None:
    meta = {**REQUEST_META, "io.modelcontextprotocol/clientCapabilities": SAMPLING}
    params = {"name": "call_dynamic_tool", "arguments": {"group": "a", "name": "act"}, "_meta": meta}
    async with running(linger=0.05) as proxy:
        post = Person(proxy, {}, has_session=False)
        post.send(id=1, method="tools/call", params=params)
        (request,) = await proxy.calls(1)
        (shared,) = proxy.servers
        asking = asyncio.create_task(shared.asks("q", "hello"))
        result = (await post.answer(1))["result"]
        await post.client.close()
        await asyncio.sleep(0.2)  # four times as long as servers outlive their last client
        assert not shared.closed
        (key,) = result["inputRequests"]
        more = {"inputResponses": {key: {}}, "requestState": result["requestState"]}
        post = Person(proxy, {}, has_session=False)
        post.send(id=2, method="tools/call", params={**params, **more})
        await asking
        shared.answer(request, {"content": []})
        assert "result" in await post.answer(2)
        await post.client.close()
        await eventually(lambda: shared.closed, "the end of the server")


async def test_clients_with_other_capabilities_do_not_share_a_server() -> None:
    async with running() as proxy:
        await proxy.person({"sampling": {}, "roots": {"listChanged": True}})
        await proxy.person({"roots": {}, "sampling": {}})
        await proxy.person({})
        await eventually(lambda: len(proxy.servers) == 2, "two servers")
        assert [each.told for each in proxy.servers] == [{"sampling": {}}, {}]


async def test_unshared_server_belongs_to_one_client_and_ends_with_it() -> None:
    async with running(server("a"), server("own", shared=False), server("fixed", cwd="/fixed")) as proxy:
        one = await proxy.person({"roots": {}}, folder=Path("/one"))
        two = await proxy.person({"roots": {}}, folder=Path("/two"))
        for person in (one, two):
            person.send(id="r", method="resources/list")
            await person.answer("r")
        await eventually(lambda: len(proxy.servers) == 4, "four servers")
        assert {(each.name, each.folder) for each in proxy.servers} == {
            ("a", None),
            ("fixed", "/fixed"),
            ("own", "/one"),
            ("own", "/two"),
        }
        of_one, of_two = (each for each in proxy.servers if each.name == "own")
        assert of_one.told == {"roots": {}}
        assert list(two.client.groups) == ["a", "own", "fixed"]
        await eventually(lambda: all(g.upstream for g in one.client.groups.values()), "ready")
        one.send(method="notifications/roots/list_changed")
        assert [bool(each.requests("notifications/roots/list_changed")) for each in (of_one, of_two)] == [
            1,
            0,
        ]
        await one.client.close()
        await eventually(lambda: of_one.closed, "the end of the own server")
        assert [each.closed for each in proxy.servers if each is not of_one] == [False] * 3


async def test_shared_servers_outlive_their_last_client_for_a_while() -> None:
    async with running(linger=0.2) as proxy:
        one = await proxy.person()
        await eventually(lambda: proxy.servers, "a server")
        await one.client.close()
        assert not proxy.clients.idle.is_set()
        two = await proxy.person()
        await asyncio.sleep(0.3)
        assert [each.closed for each in proxy.servers] == [False]
        await two.client.close()
        await eventually(lambda: proxy.servers[0].closed, "the end of the server")
        assert proxy.clients.idle.is_set()


async def test_client_that_does_not_read_stops_no_other_one() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        await eventually(lambda: proxy.servers and two.client.groups["a"].upstream, "ready")
        (shared,) = proxy.servers

        def is_paused() -> bool:
            return shared.paused

        one.client.set_paused(True)
        assert not is_paused()
        shared.send(method="notifications/message", params={"level": "error", "data": 1})
        await two.heard("notifications/message")
        assert one.all("notifications/message") == []
        two.client.set_paused(True)
        assert is_paused()
        await two.client.close()
        assert is_paused()
        one.client.set_paused(False)
        assert not is_paused()


async def test_bounds_of_all_clients_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "MAX_CLIENTS", 2)
    monkeypatch.setattr(clients_module, "MAX_POOLS", 1)
    async with running() as proxy:
        await proxy.person()
        await proxy.person({"elicitation": {}})
        await eventually(lambda: len(proxy.servers) == 2, "two servers")
        assert proxy.servers[1].told == {}
        with pytest.raises(TooManyClients):
            proxy.clients.open(lambda line: None)


async def test_reload_moves_a_server_between_shared_and_own() -> None:
    async with running(server("a"), server("b")) as proxy:
        one, two = await proxy.person(), await proxy.person()
        proxy.apply(Config((server("b", shared=False), server("a"), server("c"))))
        assert list(one.client.groups) == list(two.client.groups) == ["b", "a", "c"]
        assert one.client.groups["a"] is two.client.groups["a"]
        assert one.client.groups["b"] is not two.client.groups["b"]
        proxy.apply(Config((server("b"),)))
        assert one.client.groups["b"] is two.client.groups["b"]
        assert list(one.client.groups) == ["b"]


async def test_own_server_that_was_used_is_replaced_by_its_new_version_and_no_other_starts() -> None:
    async with running(server("a", shared=False)) as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.send(id="r", method="resources/list")
        await one.answer("r")
        assert len(proxy.servers) == 1
        proxy.apply(Config((server("a", shared=False, cwd="/other"),)))
        await eventually(lambda: [each.closed for each in proxy.servers] == [True, False], "a new version")
        assert proxy.servers[1].folder == "/other"
        two.send(id="r", method="resources/list")
        await two.answer("r")
        assert [each.folder for each in proxy.servers] == [None, "/other", "/other"]


async def test_changed_list_is_announced_to_every_client_that_has_it() -> None:
    async with running() as proxy:
        one, two = await proxy.person(), await proxy.person()
        one.send(id="t", method="tools/list")
        await one.answer("t")
        proxy.apply(Config((server("a"), server("b"))))
        await one.heard("notifications/tools/list_changed")
        assert two.all("notifications/tools/list_changed") == []


async def test_answers_go_where_the_transport_says() -> None:
    async with running() as proxy:
        one = await proxy.person()
        answers: list[dict[str, Any]] = []
        arguments = {"group": "a", "name": "act"}
        params = {"name": "call_dynamic_tool", "arguments": arguments, "_meta": {"progressToken": 1}}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        before = len(one.got)
        one.client.router.receive(json.dumps(request).encode(), lambda line: answers.append(json.loads(line)))
        (call,) = await proxy.calls(1)
        (shared,) = proxy.servers
        token = call["params"]["_meta"]["progressToken"]
        shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
        asking = asyncio.create_task(shared.asks("q", "hello"))
        await eventually(lambda: len(answers) == 2, "progress and a question")
        one.send(id=answers[1]["id"], result={})
        await asking
        shared.answer(call, {"content": []})
        await eventually(lambda: len(answers) == 3, "the answer")
        assert [a.get("method", "answer") for a in answers] == [
            "notifications/progress",
            "sampling/createMessage",
            "answer",
        ]
        assert one.got[before:] == []
