"""Subscriptions last as long as the clients that hold them: beyond the end of a stream, a connection, a session and a group."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Freshness
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Handshake, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.fakes import FakeUpstream, NoConnector, server
from tests.dynamic_mcp.helpers import eventually

#: longer than any delay before the next attempt
LONG = 60.0
LISTEN = "subscriptions/listen"


class Stream:
    """One listen request."""

    def __init__(self, id: int, wanted: dict[str, Any]) -> None:
        self.id = id
        self.wanted = wanted
        self.end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class Server(FakeUpstream):
    """A server with one tool, whose name is that of its last version."""

    def __init__(self, events: Events, *, modern: bool) -> None:
        super().__init__(modern=modern)
        self.agreed = Handshake(
            {name: Raw(b'{"listChanged":true}') for name in ("tools", "resources", "logging")}
        )
        self.version = 1
        self.listings = 0
        self.streams: list[Stream] = []
        #: why it refuses the subscriptions to these URIs
        self.refusals: dict[str, UpstreamError] = {}
        self.death: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()
        self._events = events

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method == "tools/list":
            self.listings += 1
            return json.dumps({"tools": [{"name": f"v{self.version}"}]}).encode()
        self.requests.append((method, params))
        if method == LISTEN:
            assert options.on_id is not None
            stream = Stream(len(self.requests), json.loads(params)["notifications"])
            options.on_id(stream.id)
            self.streams.append(stream)
            try:
                return await stream.end
            finally:
                stream.end.cancel()
        if (refusal := self.refusals.get(json.loads(params).get("uri"))) is not None:
            raise refusal
        return b"{}"

    def acknowledge(self, stream: Stream | None = None, **honored: Any) -> None:
        """Acknowledge a stream, by default the last one with all that it wants."""
        stream = stream or self.streams[-1]
        params = {"_meta": {era.SUBSCRIPTION_ID: stream.id}, "notifications": honored or stream.wanted}
        self.announce("notifications/subscriptions/acknowledged", params)

    def announce(self, method: str, params: object = None) -> None:
        self._events.on_notification(
            Message(jsonrpc="2.0", method=method, params=Raw(json.dumps(params or {}).encode()))
        )

    def subscribed(self) -> list[str]:
        """The URIs of all ``resources/subscribe`` requests so far."""
        return [
            json.loads(params)["uri"] for method, params in self.requests if method == "resources/subscribe"
        ]

    async def wait_lost(self) -> UpstreamGone:
        return await self.death


class Running(NoConnector):
    """A running group, with the servers that it connected."""

    def __init__(self, *, modern: bool) -> None:
        self._modern = modern
        self.servers: list[Server] = []
        #: those of the next server
        self.refusals: dict[str, UpstreamError] = {}
        self.session = ClientSession(lambda line: None)
        self.groups: dict[str, Group] = {}
        self.relay = Relay(self.session, self.groups)
        self.group = self.groups["a"] = Group(server("a"), self, self.relay, Hooks())

    def connect(self, events: Events) -> Upstream:
        self.servers.append(Server(events, modern=self._modern))
        self.server.refusals = self.refusals
        return self.servers[-1]

    @property
    def server(self) -> Server:
        return self.servers[-1]

    async def tools(self) -> list[str]:
        """The tools that a client gets that asks for them."""
        return list(await self.group.listing(TOOLS, freshness=Freshness.REQUESTED))

    async def streams(self, count: int) -> list[Stream]:
        """The listen requests so far, once there are this many."""
        await eventually(lambda: len(self.server.streams) >= count, f"{count} listen requests")
        assert len(self.server.streams) == count
        return self.server.streams


@asynccontextmanager
async def running(*, modern: bool = True) -> AsyncIterator[Running]:
    found = Running(modern=modern)
    task = asyncio.create_task(found.group.run())
    await found.group.connected()
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found.relay.close()


# The stream of a modern server

ENDS: list[bytes | UpstreamError] = [
    b"{}",
    UpstreamGone("the connection was lost"),
    UpstreamFailed("HTTP 503"),
    UpstreamRefused(b'{"code":-32603,"message":"restarting"}'),
]


@pytest.mark.parametrize("end", ENDS)
async def test_stream_that_ended_is_opened_again_and_no_stale_list_is_left(
    end: bytes | UpstreamError,
) -> None:
    async with running() as proxy:
        (first,) = await proxy.streams(1)
        proxy.server.acknowledge()
        assert await proxy.tools() == ["v1"]

        if isinstance(end, bytes):
            first.end.set_result(end)
        else:
            first.end.set_exception(end)
        proxy.server.version = 2
        await skip(LONG)
        _, second = await proxy.streams(2)
        assert second.wanted == first.wanted == {"toolsListChanged": True, "resourcesListChanged": True}
        proxy.server.acknowledge()
        assert await proxy.tools() == ["v2"]


async def test_change_before_the_first_stream_is_seen() -> None:
    async with running() as proxy:
        await proxy.streams(1)
        proxy.server.version = 2
        proxy.server.acknowledge()
        assert await proxy.tools() == ["v2"]


async def test_change_without_an_open_stream_is_seen() -> None:
    async with running() as proxy:
        (first,) = await proxy.streams(1)
        proxy.server.acknowledge()
        assert await proxy.tools() == ["v1"]
        first.end.set_result(b"{}")
        await eventually(lambda: not proxy.group.subscriptions.announces(TOOLS), "the end of the stream")
        proxy.server.version = 2
        assert await proxy.tools() == ["v2"]


async def test_list_is_cached_while_the_stream_is_open() -> None:
    async with running() as proxy:
        await proxy.streams(1)
        proxy.server.acknowledge()
        assert await proxy.tools() == ["v1"]
        listings = proxy.server.listings
        assert await proxy.tools() == ["v1"]
        assert proxy.server.listings == listings


async def test_change_that_the_server_does_not_announce_is_seen() -> None:
    async with running() as proxy:
        await proxy.streams(1)
        proxy.server.acknowledge(resourcesListChanged=True)
        assert await proxy.tools() == ["v1"]
        proxy.server.version = 2
        assert await proxy.tools() == ["v2"]


@pytest.mark.parametrize("code", [-32601, -32602])
async def test_refused_listen_request_is_not_repeated(code: int) -> None:
    async with running() as proxy:
        (first,) = await proxy.streams(1)
        first.end.set_exception(UpstreamRefused(b'{"code":%d,"message":"no"}' % code))
        await skip(LONG)
        await proxy.streams(1)


async def test_pauses_grow_while_the_server_ends_every_stream() -> None:
    async with running() as proxy:
        await proxy.streams(1)
        for count in range(1, 5):
            proxy.server.streams[-1].end.set_result(b"{}")
            await skip(0.5)
            await proxy.streams(count)
            await skip(LONG)
            await proxy.streams(count + 1)
        # The pauses so far were 1, 2, 4 and 8 seconds.
        proxy.server.streams[-1].end.set_result(b"{}")
        await skip(20.0)
        await proxy.streams(5)


async def test_further_resource_interrupts_no_stream() -> None:
    async with running() as proxy:
        (lists,) = await proxy.streams(1)
        proxy.server.acknowledge()
        await proxy.group.subscriptions.subscribe("x://1", "one")
        _, one = await proxy.streams(2)
        assert one.wanted == {"resourceSubscriptions": ["x://1"]}
        proxy.server.acknowledge(one)
        await proxy.group.subscriptions.subscribe("x://2", "one")
        *_, both = await proxy.streams(3)
        assert both.wanted == {"resourceSubscriptions": ["x://1", "x://2"]}
        assert not one.end.done()
        proxy.server.acknowledge(both)
        await eventually(one.end.done, "the end of the stream that is replaced")
        assert not lists.end.done()
        assert not both.end.done()

        await proxy.group.subscriptions.unsubscribe("x://1", "one")
        *_, last = await proxy.streams(4)
        assert last.wanted == {"resourceSubscriptions": ["x://2"]}
        await proxy.group.subscriptions.unsubscribe("x://2", "one")
        await eventually(lambda: last.end.done() and both.end.done(), "the end of the last streams")
        assert not lists.end.done()
        await proxy.streams(4)


async def test_refused_resource_leaves_the_others() -> None:
    async with running() as proxy:
        await proxy.streams(1)
        proxy.server.acknowledge()
        await proxy.group.subscriptions.subscribe("x://1", "one")
        *_, one = await proxy.streams(2)
        proxy.server.acknowledge(one)
        await proxy.group.subscriptions.subscribe("bad", "one")
        lists, one, bad = await proxy.streams(3)
        bad.end.set_exception(UpstreamRefused(b'{"code":-32602,"message":"bad"}'))
        await skip(LONG)
        assert not one.end.done()
        assert not lists.end.done()


async def test_stream_survives_a_restart_of_the_server() -> None:
    async with running() as proxy:
        await proxy.group.subscriptions.subscribe("x://1", "one")
        await proxy.streams(2)
        old = proxy.server
        old.death.set_result(UpstreamGone("it ended"))
        await skip(LONG)
        await eventually(lambda: len(proxy.servers) == 2, "the new connection")
        wanted = [stream.wanted for stream in await proxy.streams(2)]
        assert {"resourceSubscriptions": ["x://1"]} in wanted
        assert {"toolsListChanged": True, "resourcesListChanged": True} in wanted
        assert all(stream.end.done() for stream in old.streams)


# The resources of a legacy server


async def test_refused_resource_does_not_stop_the_others_after_a_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(modern=False) as proxy:
        for uri in ("x://1", "x://2", "x://3", "x://4"):
            await proxy.group.subscriptions.subscribe(uri, "one")
        proxy.refusals = {
            "x://1": UpstreamRefused(b'{"code":-32602,"message":"gone"}'),
            "x://3": UpstreamTimeout("no answer within 10 s"),
        }
        proxy.server.death.set_result(UpstreamGone("it ended"))
        await skip(LONG)
        await eventually(lambda: len(proxy.servers) == 2, "the new connection")
        await eventually(lambda: len(proxy.server.subscribed()) == 4, "all subscriptions")
        await eventually(lambda: "2 of 4 subscriptions" in caplog.text, "the warning")
        assert caplog.text.count("x://") == 0
        assert [record.levelname for record in caplog.records if "subscriptions" in record.message] == [
            "WARNING"
        ]


async def test_subscription_that_ended_meanwhile_is_not_restored() -> None:
    async with running(modern=False) as proxy:
        for uri in ("x://1", "x://2"):
            await proxy.group.subscriptions.subscribe(uri, "one")
        old = proxy.server
        proxy.group.subscriptions.restore()
        proxy.group.subscriptions.holders.drop("x://2", "one")
        await eventually(lambda: len(old.subscribed()) == 3, "the restored subscription")
        await skip(0.0)
        assert old.subscribed() == ["x://1", "x://2", "x://1"]


async def test_new_session_gets_the_subscriptions_and_the_log_level() -> None:
    async with running(modern=False) as proxy:
        await proxy.group.subscriptions.subscribe("x://1", "one")
        assert await proxy.tools() == ["v1"]
        proxy.session.level = "error"
        proxy.server.requests.clear()
        proxy.server.version = 2

        proxy.group.on_new_session()
        expected = [("logging/setLevel", b'{"level":"error"}'), ("resources/subscribe", b'{"uri":"x://1"}')]
        await eventually(lambda: sorted(proxy.server.requests) == expected, "the requests of the new session")
        assert list(await proxy.group.listing(TOOLS)) == ["v2"]


async def test_restart_gets_the_log_level() -> None:
    async with running(modern=False) as proxy:
        proxy.session.level = "error"
        proxy.server.death.set_result(UpstreamGone("it ended"))
        await skip(LONG)
        await eventually(lambda: len(proxy.servers) == 2, "the new connection")
        await eventually(lambda: proxy.server.requests, "the level")
        assert proxy.server.requests == [("logging/setLevel", b'{"level":"error"}')]
