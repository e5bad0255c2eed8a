"""Clients get an update of each resource whose updates may be lost, once for each gap."""

from __future__ import annotations

import asyncio

import pytest

from dynamic_mcp.errors import UpstreamGone, UpstreamRefused
from dynamic_mcp.groups import legacy_subscriptions, missed_updates
from dynamic_mcp.groups.missed_updates import INTERVAL
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_reopened_streams import listen_to, updates
from tests.dynamic_mcp.groups.test_subscriptions import LONG, Running, running
from tests.dynamic_mcp.helpers import eventually

URIS = ["x://1", "x://2"]
#: longer than the time in which the relay merges equal updates
FRESH = 0.2


class Client:
    """A client with subscriptions to both resources."""

    def __init__(self, proxy: Running) -> None:
        self.sent: list[bytes] = []
        self._proxy = proxy
        listen_to(proxy, self.sent)

    async def subscribe(self) -> None:
        for uri in URIS:
            await self._proxy.group.subscriptions.subscribe(uri, self._proxy.session)

    async def hears(self, *uris: str) -> None:
        """Wait for these updates, and see that no other one comes."""
        await eventually(lambda: sorted(updates(self.sent)) == sorted(uris), f"updates of {uris}")
        await skip(FRESH)
        assert sorted(updates(self.sent)) == sorted(uris)
        self.sent.clear()


async def restart(proxy: Running) -> None:
    """End the connection, and wait for the next one."""
    count = len(proxy.servers)
    proxy.server.death.set_result(UpstreamGone("it ended"))
    await skip(LONG)
    await eventually(lambda: len(proxy.servers) > count, "the new connection")


# Legacy servers


async def test_restart_of_a_legacy_server_is_announced() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        await client.hears()
        await restart(proxy)
        await eventually(lambda: proxy.server.subscribed() == URIS, "the subscriptions")
        await client.hears(*URIS)


async def test_refused_resource_is_announced_too() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        proxy.refusals = {URIS[0]: UpstreamRefused(b'{"code":-32602,"message":"gone"}')}
        await restart(proxy)
        await client.hears(*URIS)


async def in_a_new_session(proxy: Running) -> Client:
    """A client whose subscriptions were made again in a new session, the stream of which is not open yet."""
    client = Client(proxy)
    await client.subscribe()
    proxy.server.delivers_notifications = False
    proxy.group.on_new_session()
    await eventually(lambda: proxy.server.subscribed() == URIS * 2, "the subscriptions")
    return client


async def test_new_session_is_announced_once_its_stream_is_open() -> None:
    async with running(modern=False) as proxy:
        client = await in_a_new_session(proxy)
        await client.hears()
        proxy.server.delivers_notifications = True
        proxy.group.on_stream_open()
        await client.hears(*URIS)


async def test_new_session_without_a_stream_is_announced() -> None:
    async with running(modern=False) as proxy:
        client = await in_a_new_session(proxy)
        await skip(legacy_subscriptions.STREAM_WAIT)
        await client.hears(*URIS)


async def test_stream_of_a_legacy_server_that_is_open_again_is_announced() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        proxy.group.on_stream_open()
        await client.hears(*URIS)


async def test_streams_that_end_again_and_again_are_announced_at_a_bounded_rate() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        proxy.group.on_stream_open()
        await client.hears(*URIS)
        for _ in range(5):
            proxy.group.on_stream_open()
            await client.hears()
        await proxy.group.subscriptions.unsubscribe(URIS[0], proxy.session)
        await skip(INTERVAL)
        await client.hears(URIS[1])
        await skip(INTERVAL)
        proxy.group.on_stream_open()
        await client.hears(URIS[1])


async def test_connections_that_end_again_and_again_are_announced_at_a_bounded_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(missed_updates, "INTERVAL", 10 * LONG)
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        for heard in (URIS, [], []):
            await restart(proxy)
            await eventually(lambda: proxy.server.subscribed() == URIS, "the subscriptions")
            await client.hears(*heard)
        await skip(10 * LONG)
        await client.hears(*URIS)


async def test_stream_that_opens_during_a_start_announces_nothing() -> None:
    class Early(Running):
        def connect(self, events: Events) -> Upstream:
            upstream = super().connect(events)
            if len(self.servers) == 2:
                events.on_stream_open()
            return upstream

    proxy = Early(modern=False)
    task = asyncio.create_task(proxy.group.run())
    await proxy.group.connected()
    client = Client(proxy)
    await client.subscribe()
    await restart(proxy)
    await client.hears(*URIS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    proxy.relay.close()


# Modern servers


async def test_restart_of_a_modern_server_is_announced() -> None:
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        _, stream = await proxy.streams(2)
        proxy.server.acknowledge(stream)
        await client.hears()
        await restart(proxy)
        for stream in await proxy.streams(2):
            proxy.server.acknowledge(stream)
        await client.hears(*URIS)


async def test_resource_that_a_restarted_modern_server_refuses_is_announced() -> None:
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        await proxy.streams(2)
        await restart(proxy)
        refusal = UpstreamRefused(b'{"code":-32602,"message":"gone"}')
        _, both = await proxy.streams(2)
        both.end.set_exception(refusal)
        _, _, one, other = await proxy.streams(4)
        one.end.set_exception(refusal)
        await client.hears(URIS[0])
        proxy.server.acknowledge(other)
        await skip(INTERVAL)
        await client.hears(URIS[1])


@pytest.mark.parametrize("is_open", [True, False])
async def test_gap_of_a_stream_that_is_replaced_is_announced(is_open: bool) -> None:
    async with running() as proxy:
        client = Client(proxy)
        await proxy.group.subscriptions.subscribe(URIS[0], proxy.session)
        _, first = await proxy.streams(2)
        proxy.server.acknowledge(first)
        await client.hears()
        if not is_open:
            first.end.set_result(b"{}")
            await skip(0.0)
        await proxy.group.subscriptions.subscribe(URIS[1], proxy.session)
        *_, second = await proxy.streams(3)
        if is_open:
            first.end.set_result(b"{}")
            await skip(0.0)
        proxy.server.acknowledge(second)
        await client.hears(URIS[0])


async def test_further_subscription_announces_nothing() -> None:
    async with running() as proxy:
        client = Client(proxy)
        for count, uri in enumerate(URIS, 2):
            await proxy.group.subscriptions.subscribe(uri, proxy.session)
            *_, stream = await proxy.streams(count)
            proxy.server.acknowledge(stream)
        await client.hears()
