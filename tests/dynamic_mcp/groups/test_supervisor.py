"""The set of groups during a change of the configuration: connections, waiting calls, and notifications of the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from dynamic_mcp.config.diff import diff
from dynamic_mcp.config.model import Config, Features, Server, StdioTransport, Timeouts
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed, UpstreamGone, UpstreamRefused
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups import signing_in
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Handshake, Upstream
from tests.dynamic_mcp.fakes import FakeUpstream, NoConnector
from tests.dynamic_mcp.helpers import eventually

OPTIONS = Options(5.0)


def server(name: str, command: str = "one", **changes: Any) -> Server:
    """A server; another ``command`` is another definition."""
    plain = Server(name, "d", StdioTransport(command, (), ()), Features(), Timeouts())
    return msgspec.structs.replace(plain, **changes)


ALL_LISTS = ["prompts", "resources", "tools"]


class FakeConnection(FakeUpstream):
    """An upstream of a running group. A test can hold its opening, and its end fails the requests in flight."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__()
        self.name = name
        self.command = command
        self.agreed = Handshake({name: Raw(b"{}") for name in ("tools", "resources", "prompts")})
        self.may_open = asyncio.Event()
        self.may_open.set()
        #: why it cannot open
        self.failure: UpstreamFailed | None = None
        #: why it refuses every request but those for lists
        self.refusal: UpstreamRefused | None = None
        #: connections that must close before this one can open, as if they held the same port
        self.rivals: list[FakeConnection] = []
        self.closed = False
        self.paused = False
        self._pending: set[asyncio.Future[bytes]] = set()

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        await self.may_open.wait()
        if self.failure is not None:
            raise self.failure
        if not all(rival.closed for rival in self.rivals):
            raise UpstreamFailed("it cannot be started")

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method.endswith("/list"):
            kind, entry = method.split("/")[0], f"{self.name}-{self.command}"
            return json.dumps({kind: [{"name": entry, "uri": f"x://{entry}"}]}).encode()
        self.requests.append((method, params))
        if self.refusal is not None:
            raise self.refusal
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending.add(future)
        if self.answer is not None:
            future.set_result(self.command.encode())
        return await future

    def answer_all(self) -> None:
        for future in self._pending:
            if not future.done():
                future.set_result(self.command.encode())

    def set_paused(self, paused: bool) -> None:
        self.paused = paused

    async def close(self) -> None:
        self.closed = True
        for future in self._pending:
            if not future.done():
                future.set_exception(UpstreamGone("the connection was closed"))


class Proxy:
    """Groups with a frontend and a supervisor; the upstreams are fake connections."""

    def __init__(self, *servers: Server) -> None:
        self.lines: list[bytes] = []
        #: every connection, by server and command
        self.connections: dict[tuple[str, str], list[FakeConnection]] = {}
        #: the commands whose connections wait for ``may_open``
        self.held_commands: set[str] = set()
        #: the commands for which ``connect`` raises an unexpected error
        self.broken_commands: set[str] = set()
        #: whether a server can run only once at a time
        self.exclusive = False
        self.groups: dict[str, Group] = {}
        self.config = Config(servers)
        session = ClientSession(self.lines.append)
        self.relay = Relay(session, self.groups)
        self.frontend = Frontend(self.groups, session, self.relay, self.lines.append, Hooks())
        self.supervisor = Supervisor(self.config, self.groups, self._make, self.frontend.changing)

    def _make(self, configured: Server) -> Group:
        proxy = self

        class Scripted(NoConnector):
            def connect(self, events: Events) -> Upstream:
                return proxy._connect(configured)

        return Group(configured, Scripted(), self.relay, Hooks())

    def _connect(self, configured: Server) -> FakeConnection:
        assert isinstance(configured.transport, StdioTransport)
        command = configured.transport.command
        if command in self.broken_commands:
            raise KeyError(command)
        connection = FakeConnection(configured.name, command)
        if command in self.held_commands:
            connection.may_open.clear()
        if self.exclusive:
            connection.rivals = [one for one in self.all_connections() if one.name == configured.name]
        self.connections.setdefault((configured.name, command), []).append(connection)
        return connection

    def connection(self, name: str, command: str = "one") -> FakeConnection:
        (only,) = self.connections[name, command]
        return only

    def command_of(self, name: str) -> str | None:
        upstream = self.groups[name].upstream
        return upstream.command if isinstance(upstream, FakeConnection) else None

    def all_connections(self) -> list[FakeConnection]:
        return [connection for made in self.connections.values() for connection in made]

    def apply(self, *servers: Server) -> None:
        old, self.config = self.config, Config(servers)
        self.supervisor.apply(self.config, diff(old, self.config))

    async def ready(self, *names: str) -> None:
        for name in names:
            await eventually(lambda name=name: self.groups[name].upstream, f"{name} is ready")  # type: ignore[misc]

    def start_call(self, name: str) -> asyncio.Task[bytes]:
        """Start a call in the background."""
        return asyncio.get_running_loop().create_task(self.groups[name].request("call", b"", OPTIONS))

    async def command_that_answers(self, name: str) -> bytes:
        return await asyncio.wait_for(self.groups[name].request("call", b"", OPTIONS), 5)

    async def notified(self) -> list[str]:
        """The list changes that the client was notified of since the last call, in the order of their names."""
        changes = self.relay.changes
        await eventually(lambda: not changes._waiting and not changes._tasks._tasks, "the lists are compared")
        methods = [json.loads(line).get("method", "") for line in self.lines]
        self.lines.clear()
        return sorted(method.split("/")[1] for method in methods if method.endswith("list_changed"))


@asynccontextmanager
async def running(*servers: Server) -> AsyncIterator[Proxy]:
    """A proxy whose client has done the handshake, with every server ready."""
    proxy = Proxy(*servers)
    async with anyio.create_task_group() as tasks:
        await tasks.start(proxy.supervisor.run)
        proxy.frontend.router.receive(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}')
        proxy.frontend.router.receive(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        await proxy.ready(*(server.name for server in servers))
        for number, kind in enumerate(ALL_LISTS, 2):
            proxy.frontend.router.receive(
                b'{"jsonrpc":"2.0","id":%d,"method":"%b/list"}' % (number, kind.encode())
            )
        await eventually(lambda: len(proxy.lines) == 1 + len(ALL_LISTS), "the client has the lists")
        await proxy.notified()
        yield proxy
        await proxy.frontend.close()
        tasks.cancel_scope.cancel()
    assert all(connection.closed for connection in proxy.all_connections())


async def test_unchanged_server_keeps_its_connection_and_its_calls() -> None:
    async with running(server("a"), server("b"), server("c")) as proxy:
        proxy.connection("a").answer = None
        call = proxy.start_call("a")
        await eventually(lambda: proxy.connection("a").requests, "the call is on its way")
        proxy.apply(server("new"), server("c", "other"), server("a"))
        await proxy.ready("new")
        assert list(proxy.groups) == ["new", "c", "a"]
        proxy.connection("a").answer_all()
        assert await call == b"one"
        assert not proxy.connection("a").closed


async def test_internal_error_fails_only_its_own_group() -> None:
    async with running(server("a")) as proxy:
        proxy.broken_commands.add("mistake")
        proxy.apply(server("a"), server("b", "mistake"))
        with pytest.raises(UpstreamFailed, match=r"an internal error of the proxy .KeyError."):
            await asyncio.wait_for(proxy.groups["b"].connected(), 5)
        assert await proxy.command_that_answers("a") == b"one"

        proxy.broken_commands.clear()
        proxy.groups["b"].retry_now()
        await proxy.ready("b")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MemoryError(), "the memory of the proxy was used up"), (RecursionError(), "an internal error")],
)
async def test_error_outside_of_the_attempt_to_connect_fails_only_its_own_group(
    error: Exception, reason: str
) -> None:
    """For example during a sign-in, or while a connection is closed."""

    async def fail(need: SignInNeeded) -> None:
        raise error

    async with running(server("a")) as proxy:
        proxy.held_commands.add("held")
        proxy.apply(server("a"), server("b", "held"))
        await eventually(lambda: proxy.connections.get(("b", "held")), "b connects")
        group, connection = proxy.groups["b"], proxy.connection("b", "held")
        # Private, because the group makes its connector's calls itself.
        group._connector.sign_in = fail  # type: ignore[method-assign]
        connection.failure = SignInNeeded("sign in")
        connection.may_open.set()
        await eventually(
            lambda: group._state.failure is not None and reason in str(group._state.failure), "b failed"
        )
        assert await proxy.command_that_answers("a") == b"one"


async def test_group_that_no_client_names_comes_back_with_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server refuses them for a while."""
    monkeypatch.setattr(signing_in, "TRY_AGAIN", 0.05)
    async with running(server("a")) as proxy:
        proxy.held_commands.add("held")
        proxy.apply(server("a"), server("b", "held"))
        await eventually(lambda: proxy.connections.get(("b", "held")), "b connects")
        group, connection = proxy.groups["b"], proxy.connection("b", "held")
        # Private, because the group makes its connector's calls itself.
        monkeypatch.setattr(group._connector, "signs_in_at_start", False)
        connection.failure = need = SignInNeeded("sign in")
        need.may_pass = True
        proxy.held_commands.clear()
        connection.may_open.set()
        await eventually(lambda: proxy.command_of("b") == "held", "the next attempt")
        assert len(proxy.connections["b", "held"]) == 2


async def test_removed_server_ends_its_calls_with_the_reason() -> None:
    async with running(server("a"), server("b")) as proxy:
        proxy.connection("a").answer = None
        group, call = proxy.groups["a"], proxy.start_call("a")
        await eventually(lambda: proxy.connection("a").requests, "the call is on its way")
        proxy.apply(server("b"))
        with pytest.raises(UpstreamFailed, match="not part of the configuration any more"):
            await asyncio.wait_for(call, 5)
        with pytest.raises(UpstreamFailed, match="not part of the configuration any more"):
            await asyncio.wait_for(group.connected(), 5)
        await eventually(lambda: proxy.connection("a").closed, "it is closed")


@pytest.mark.parametrize("is_ready", [True, False], ids=["ready", "starting"])
async def test_removed_server_ends_the_calls_of_its_predecessor(is_ready: bool) -> None:
    async with running(server("a"), server("b")) as proxy:
        old, held = proxy.connection("a"), set() if is_ready else {"other"}
        old.answer = None
        call = proxy.start_call("a")
        await eventually(lambda: old.requests, "the call is on its way")
        proxy.held_commands |= held
        proxy.apply(server("a", "other"), server("b"))
        await eventually(lambda: ("a", "other") in proxy.connections, "the new one starts")
        await eventually(lambda: proxy.command_of("a") == ("other" if is_ready else "one"), "the hand-over")
        proxy.apply(server("b"))
        with pytest.raises(UpstreamFailed, match="not part of the configuration any more"):
            await asyncio.wait_for(call, 5)
        await eventually(
            lambda: all(one.closed for one in proxy.all_connections() if one.name == "a"), "the end"
        )
        assert await proxy.command_that_answers("b") == b"one"


async def test_removal_during_start_fails_waiting_calls() -> None:
    async with running(server("b")) as proxy:
        proxy.held_commands.add("slow")
        proxy.apply(server("b"), server("a", "slow"))
        call = proxy.start_call("a")
        await eventually(lambda: ("a", "slow") in proxy.connections, "it starts")
        proxy.apply(server("b"))
        with pytest.raises(UpstreamFailed, match="not part of the configuration any more"):
            await asyncio.wait_for(call, 5)
        await eventually(lambda: proxy.connection("a", "slow").closed, "it is closed")


async def test_old_group_serves_until_the_new_one_is_ready() -> None:
    async with running(server("a")) as proxy:
        old = proxy.connection("a")
        proxy.held_commands.add("other")
        proxy.apply(server("a", "other"))
        await eventually(lambda: ("a", "other") in proxy.connections, "the new one starts")
        assert await proxy.command_that_answers("a") == b"one"
        old.answer = None
        call = proxy.start_call("a")
        await eventually(lambda: len(old.requests) == 2, "the call is on its way")
        proxy.connection("a", "other").may_open.set()
        await eventually(lambda: proxy.groups["a"].upstream is proxy.connection("a", "other"), "the change")
        assert await proxy.command_that_answers("a") == b"other"
        assert not old.closed
        old.answer_all()
        assert await call == b"one"
        await eventually(lambda: old.closed, "the old one is closed")


@pytest.mark.slow
async def test_call_beyond_its_timeout_does_not_keep_the_old_group() -> None:
    quick = Timeouts(tools=0.1, resources=0.1, prompts=0.1)
    async with running(server("a", timeouts=quick)) as proxy:
        proxy.connection("a").answer = None
        call = proxy.start_call("a")
        proxy.apply(server("a", "other", timeouts=quick))
        with pytest.raises(UpstreamFailed, match="definition in the configuration was changed"):
            await asyncio.wait_for(call, 5)


async def test_failed_replacement_takes_over_and_retries_at_once() -> None:
    async with running(server("a")) as proxy:
        proxy.exclusive = True
        proxy.apply(server("a", "other"))
        # The first retry of a failed server is due after two seconds; after a hand-over it comes at once.
        with anyio.fail_after(1.5):
            await eventually(lambda: len(proxy.connections.get(("a", "other"), [])) == 2, "a second attempt")
            await proxy.ready("a")
        assert proxy.connection("a").closed
        assert await proxy.command_that_answers("a") == b"other"


async def test_waiting_call_goes_to_the_replacement() -> None:
    async with running(server("b")) as proxy:
        proxy.held_commands.add("slow")
        proxy.apply(server("a", "slow"), server("b"))
        call = proxy.start_call("a")
        await eventually(lambda: ("a", "slow") in proxy.connections, "it starts")
        proxy.apply(server("a", "other"), server("b"))
        assert await asyncio.wait_for(call, 5) == b"other"
        await eventually(lambda: proxy.connection("a", "slow").closed, "it is closed")


async def test_only_the_last_of_several_changes_takes_over() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands |= {"two", "three"}
        for command in ("two", "three", "four"):
            proxy.apply(server("a", command))
            await eventually(lambda command=command: ("a", command) in proxy.connections, "it starts")  # type: ignore[misc]
        await eventually(lambda: proxy.groups["a"].upstream is proxy.connection("a", "four"), "the last one")
        for command in ("one", "two", "three"):
            await eventually(
                lambda command=command: proxy.connection("a", command).closed,  # type: ignore[misc]
                f"{command} is closed",
            )


async def test_reverted_change_keeps_the_old_group() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands.add("other")
        proxy.apply(server("a", "other"))
        await eventually(lambda: ("a", "other") in proxy.connections, "the new one starts")
        proxy.apply(server("a"))
        await eventually(lambda: proxy.connection("a", "other").closed, "it is given up")
        assert await proxy.command_that_answers("a") == b"one"
        assert not proxy.connection("a").closed


async def test_settings_apply_without_a_restart() -> None:
    async with running(server("a")) as proxy:
        group = proxy.groups["a"]
        changed = server("a", timeouts=Timeouts(tools=1.0), features=Features(prompts=False), description="e")
        proxy.apply(changed)
        assert proxy.groups["a"] is group
        assert group.server == changed
        assert not proxy.connection("a").closed


async def test_replacement_takes_over_the_subscriptions() -> None:
    async with running(server("a")) as proxy:
        await proxy.groups["a"].subscriptions.subscribe("mock:///x", proxy)
        proxy.apply(server("a", "other"))
        await eventually(lambda: proxy.connection("a").closed, "the old one is closed")
        other = proxy.connection("a", "other")
        await eventually(lambda: other.requests, "the subscription")
        assert other.requests == [("resources/subscribe", b'{"uri":"mock:///x"}')]


async def test_subscription_that_waits_for_the_old_group_goes_to_the_replacement() -> None:
    async with running() as proxy:
        proxy.held_commands.add("one")
        proxy.apply(server("a"))
        subscribing = asyncio.create_task(proxy.groups["a"].subscriptions.subscribe("mock:///x", proxy))
        await anyio.lowlevel.checkpoint()
        proxy.apply(server("a", "other"))
        await asyncio.wait_for(subscribing, 5)
        assert proxy.connection("a", "other").requests == [("resources/subscribe", b'{"uri":"mock:///x"}')]
        assert proxy.groups["a"].subscriptions.holders.has("mock:///x", proxy)


def _waiting_call(proxy: Proxy) -> asyncio.Task[bytes]:
    """Start a call to the server b, which does not start."""
    proxy.held_commands.add("one")
    proxy.apply(server("a"), server("b"))
    return proxy.start_call("b")


async def _call_moved_to_a_replacement(proxy: Proxy) -> None:
    """Let each call that waits for the server b go to its replacement, which answers none."""
    proxy.held_commands.add("two")
    proxy.apply(server("a"), server("b", "two"))
    await eventually(lambda: ("b", "two") in proxy.connections, "the replacement starts")
    two = proxy.connection("b", "two")
    two.answer = None
    two.may_open.set()
    await eventually(lambda: two.requests, "the call at the replacement")


async def test_call_that_waited_for_a_replaced_server_survives_the_next_replacement() -> None:
    async with running(server("a")) as proxy:
        call = _waiting_call(proxy)
        await _call_moved_to_a_replacement(proxy)
        two = proxy.connection("b", "two")

        proxy.apply(server("a"), server("b", "three"))
        await eventually(lambda: proxy.command_of("b") == "three", "the next replacement")
        await asyncio.sleep(0.05)
        assert not two.closed
        two.answer_all()
        assert await asyncio.wait_for(call, 5) == b"two"
        await eventually(lambda: two.closed, "the end of the replaced server")


async def test_failure_of_a_moved_call_is_that_of_the_replacement() -> None:
    async with running(server("a")) as proxy:
        call = _waiting_call(proxy)
        await _call_moved_to_a_replacement(proxy)
        await proxy.connection("b", "two").close()
        with pytest.raises(UpstreamFailed, match="the connection was closed"):
            await asyncio.wait_for(call, 5)


async def test_moved_call_of_a_tool_is_one_of_the_replacement() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands.add("one")
        proxy.apply(server("a"), server("b"))
        arguments = b'{"group":"b","name":"b-two"}'
        proxy.frontend.router.receive(
            b'{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"call_dynamic_tool","arguments":%b}}'
            % arguments
        )
        await eventually(lambda: proxy.relay.in_flight, "the call waits")
        old = proxy.groups["b"]
        await _call_moved_to_a_replacement(proxy)
        assert proxy.groups["b"] is not old
        assert [call.group for call in proxy.relay._calls] == [proxy.groups["b"]]
        assert proxy.relay.awaits(proxy.groups["b"])


async def test_call_that_waits_at_a_replaced_server_waits_for_its_replacement() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands |= {"one", "two"}
        proxy.apply(server("a"), server("b"))
        proxy.frontend.router.receive(
            b'{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"call_dynamic_tool",'
            b'"arguments":{"group":"b","name":"b-two"}}}'
        )
        await eventually(lambda: proxy.relay.in_flight, "the call waits")
        old = proxy.groups["b"]
        proxy.apply(server("a"), server("b", "two"))
        await eventually(lambda: proxy.groups["b"] is not old, "the replacement")
        assert proxy.relay.awaits(proxy.groups["b"])


async def test_subscription_in_flight_during_the_hand_over_goes_to_the_replacement() -> None:
    async with running(server("a")) as proxy:
        old = proxy.connection("a")
        old.answer = None
        subscribing = asyncio.create_task(proxy.groups["a"].subscriptions.subscribe("mock:///x", proxy))
        await eventually(lambda: old.requests, "the request to the old one")
        proxy.apply(server("a", "other"))
        await asyncio.wait_for(subscribing, 5)
        assert old.closed
        other = proxy.connection("a", "other")
        assert ("resources/subscribe", b'{"uri":"mock:///x"}') in other.requests
        assert proxy.groups["a"].subscriptions.holders.has("mock:///x", proxy)


async def test_subscription_that_the_replacement_refuses_has_no_holder() -> None:
    async with running(server("a")) as proxy:
        old = proxy.connection("a")
        old.answer = None
        proxy.held_commands.add("other")
        subscribing = asyncio.create_task(proxy.groups["a"].subscriptions.subscribe("mock:///x", proxy))
        await eventually(lambda: old.requests, "the request to the old one")
        proxy.apply(server("a", "other"))
        await eventually(lambda: ("a", "other") in proxy.connections, "the new one starts")
        other = proxy.connection("a", "other")
        other.refusal = UpstreamRefused(b'{"code":-32602,"message":"no"}')
        other.may_open.set()
        with pytest.raises(UpstreamRefused):
            await asyncio.wait_for(subscribing, 5)
        assert proxy.groups["a"].subscriptions.holders == {}


async def test_end_of_a_subscription_during_the_hand_over_holds() -> None:
    async with running(server("a")) as proxy:
        subscriptions = proxy.groups["a"].subscriptions
        await subscriptions.subscribe("mock:///x", proxy)
        proxy.connection("a").answer = None
        ending = asyncio.create_task(subscriptions.unsubscribe("mock:///x", proxy))
        await eventually(lambda: len(proxy.connection("a").requests) == 2, "the request to the old one")
        proxy.apply(server("a", "other"))
        await asyncio.wait_for(ending, 5)
        assert proxy.connection("a", "other").requests == []
        assert proxy.groups["a"].subscriptions.holders == {}


async def test_new_groups_are_paused_too() -> None:
    async with running(server("a")) as proxy:
        proxy.supervisor.set_paused(True)
        proxy.apply(server("a"), server("b"))
        await proxy.ready("b")
        assert proxy.connection("a").paused
        assert proxy.connection("b").paused


@pytest.mark.parametrize(
    ("after", "notified"),
    [
        ((server("a"), server("b")), []),
        ((server("a"), server("b", timeouts=Timeouts(tools=1.0))), []),
        ((server("a"), server("b", description="other")), ["tools"]),
        ((server("b"), server("a")), ALL_LISTS),
        ((server("a"),), ALL_LISTS),
        ((server("a"), server("b", features=Features(prompts=False))), ["prompts"]),
        ((server("a"), server("b", features=Features(tools=False))), []),
    ],
    ids=["nothing", "a timeout", "a description", "the order", "removed", "no prompts", "no tools"],
)
async def test_client_is_notified_of_the_lists_that_changed(
    after: tuple[Server, ...], notified: list[str]
) -> None:
    async with running(server("a"), server("b")) as proxy:
        proxy.apply(*after)
        assert await proxy.notified() == notified


async def test_new_server_is_announced_at_once_and_its_lists_when_ready() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands.add("slow")
        proxy.apply(server("a"), server("b", "slow"))
        assert await proxy.notified() == ["tools"]
        await eventually(lambda: ("b", "slow") in proxy.connections, "it starts")
        proxy.connection("b", "slow").may_open.set()
        await proxy.ready("b")
        assert await proxy.notified() == ["prompts", "resources"]


async def test_replacement_is_announced_once_when_it_takes_over() -> None:
    async with running(server("a")) as proxy:
        proxy.held_commands.add("other")
        proxy.apply(server("a", "other"))
        assert await proxy.notified() == []
        await eventually(lambda: ("a", "other") in proxy.connections, "it starts")
        proxy.connection("a", "other").may_open.set()
        await eventually(lambda: proxy.connection("a").closed, "the old one is closed")
        assert await proxy.notified() == ["prompts", "resources"]


async def test_undeclared_lists_are_not_announced() -> None:
    off = Features(resources=False, prompts=False)
    async with running(server("a", features=off)) as proxy:
        proxy.apply(server("a", features=off), server("b"))
        await proxy.ready("b")
        assert await proxy.notified() == ["tools"]


sets = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123")), unique_by=lambda pair: pair[0]),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@given(sets, st.sets(st.sampled_from("123")), st.booleans())
@settings(max_examples=60, deadline=None)
async def test_any_sequence_of_configurations_ends_in_the_last_one(
    sequence: list[tuple[list[tuple[str, str]], int]], held_commands: set[str], paused: bool
) -> None:
    """Servers are added, changed and removed while others, some of them slow, are added, changed and removed."""
    async with running(server("a")) as proxy:
        proxy.held_commands |= held_commands
        proxy.supervisor.set_paused(paused)
        for pairs, turns in sequence:
            proxy.apply(*(server(name, command) for name, command in pairs))
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
        for connection in proxy.all_connections():
            connection.may_open.set()
        proxy.held_commands.clear()
        last = dict(sequence[-1][0])
        for name, command in last.items():
            await eventually(
                lambda name=name, command=command: proxy.command_of(name) == command,  # type: ignore[misc]
                f"{name} is {command}",
            )
            assert await proxy.command_that_answers(name) == command.encode()
            await eventually(
                lambda name=name: (
                    sum(not one.closed for one in proxy.all_connections() if one.name == name) == 1
                ),  # type: ignore[misc]
                f"one connection to {name}",
            )
        await eventually(
            lambda: sum(not connection.closed for connection in proxy.all_connections()) == len(last),
            "nothing else is open",
        )
        assert list(proxy.groups) == list(last)
        assert all(
            connection.paused is paused for connection in proxy.all_connections() if not connection.closed
        )
