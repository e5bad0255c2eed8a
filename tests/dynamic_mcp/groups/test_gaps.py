"""Clients hear of each gap in their subscriptions, also if streams are split, or sessions follow each other soon."""

from __future__ import annotations

import asyncio

import pytest

from dynamic_mcp.errors import UpstreamGone, UpstreamRefused
from dynamic_mcp.groups.legacy_subscriptions import STREAM_WAIT
from dynamic_mcp.groups.missed_updates import INTERVAL
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_missed_updates import FRESH, URIS, Client
from tests.dynamic_mcp.groups.test_reopened_streams import updates
from tests.dynamic_mcp.groups.test_subscriptions import LONG, Running, Stream, running
from tests.dynamic_mcp.helpers import eventually

REFUSAL = UpstreamRefused(b'{"code":-32602,"message":"no such resource"}')
NEW = "x://3"


async def all_heard(client: Client) -> list[str]:
    """The updates that the client gets from now on, in order of their URIs."""
    await skip(FRESH)
    await skip(INTERVAL)
    await skip(FRESH)
    return sorted(updates(client.sent))


async def opened(proxy: Running) -> Stream:
    """The open stream for both resources of a client."""
    _, stream = await proxy.streams(2)
    assert stream.wanted == {"resourceSubscriptions": URIS}
    proxy.server.acknowledge(stream)
    return stream


async def split(proxy: Running) -> tuple[Stream, Stream]:
    """The two streams in place of a refused one for three resources."""
    await proxy.group.subscriptions.subscribe(NEW, proxy.session)
    *_, three = await proxy.streams(3)
    three.end.set_exception(REFUSAL)
    *_, one, two = await proxy.streams(5)
    assert (one.wanted, two.wanted) == (
        {"resourceSubscriptions": URIS[:1]},
        {"resourceSubscriptions": [URIS[1], NEW]},
    )
    return one, two


@pytest.mark.parametrize("is_first_open", [False, True])
async def test_gap_of_a_stream_that_is_replaced_by_two_is_announced(is_first_open: bool) -> None:
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        old = await opened(proxy)
        one, two = await split(proxy)
        if is_first_open:
            proxy.server.acknowledge(one)
        old.end.set_exception(UpstreamGone("the connection was lost"))
        await skip(0.0)
        if not is_first_open:
            proxy.server.acknowledge(one)
        proxy.server.acknowledge(two)
        assert set(URIS[is_first_open:]) <= set(await all_heard(client)) <= set(URIS)


async def test_gap_is_announced_while_the_other_half_is_not_open() -> None:
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        old = await opened(proxy)
        one, _ = await split(proxy)
        old.end.set_exception(UpstreamGone("the connection was lost"))
        await skip(0.0)
        proxy.server.acknowledge(one)
        assert await all_heard(client) == URIS[:1]


async def test_gap_is_announced_if_the_other_half_is_refused() -> None:
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        old = await opened(proxy)
        one, two = await split(proxy)
        old.end.set_exception(UpstreamGone("the connection was lost"))
        await skip(0.0)
        two.end.set_exception(REFUSAL)
        *_, third, fourth = await proxy.streams(7)
        for stream in (one, third):
            proxy.server.acknowledge(stream)
        fourth.end.set_exception(REFUSAL)
        assert await all_heard(client) == URIS


@pytest.mark.parametrize("ends_with_it", [True, False])
async def test_gap_of_an_open_stream_that_the_server_then_refuses_is_announced(ends_with_it: bool) -> None:
    """Whether the refusal ends the stream, or answers the next request."""
    async with running() as proxy:
        client = Client(proxy)
        await client.subscribe()
        stream = await opened(proxy)
        count = 2
        if not ends_with_it:
            stream.end.set_result(b"{}")
            await skip(LONG)
            count += 1
            *_, stream = await proxy.streams(count)
        stream.end.set_exception(REFUSAL)
        *_, one, two = await proxy.streams(count + 2)
        proxy.server.acknowledge(one)
        proxy.server.acknowledge(two)
        assert await all_heard(client) == URIS


async def test_second_new_session_is_announced_once_its_subscriptions_are_made() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        proxy.server.delivers_notifications = False
        proxy.group.on_new_session()
        await eventually(lambda: proxy.server.subscribed() == URIS * 2, "the first subscriptions")
        right, answered = proxy.server.request, asyncio.Event()

        async def request(method: str, params: bytes, options: Options) -> bytes:
            await answered.wait()
            return await right(method, params, options)

        proxy.server.request = request  # type: ignore[method-assign]
        proxy.group.on_new_session()
        await skip(STREAM_WAIT)
        assert await all_heard(client) == []
        answered.set()
        await eventually(lambda: proxy.server.subscribed() == URIS * 3, "the second subscriptions")
        await skip(STREAM_WAIT)
        assert await all_heard(client) == URIS


async def test_stream_that_opens_at_once_announces_nothing_before_the_subscriptions_are_made() -> None:
    async with running(modern=False) as proxy:
        client = Client(proxy)
        await client.subscribe()
        right, answered = proxy.server.request, asyncio.Event()

        async def request(method: str, params: bytes, options: Options) -> bytes:
            await answered.wait()
            return await right(method, params, options)

        proxy.server.request = request  # type: ignore[method-assign]
        proxy.server.delivers_notifications = False
        proxy.group.on_new_session()
        proxy.group.on_stream_open()
        assert await all_heard(client) == []
        answered.set()
        assert await all_heard(client) == URIS
