"""The requests for subscriptions: their order and their number."""

from __future__ import annotations

import asyncio
import json

from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_subscriptions import LONG, Running, Server, running
from tests.dynamic_mcp.helpers import eventually

SOON = 5.0


class Overtaken(Server):
    """A server that handles each unsubscription late, so that a later request can overtake it."""

    def __init__(self, events: Events) -> None:
        super().__init__(events, modern=False)
        self.may_unsubscribe = asyncio.Event()
        self.subscriptions: set[str] = set()

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        result = await super().request(method, params, options)
        if method == "resources/subscribe":
            self.subscriptions.add(json.loads(params)["uri"])
        elif method == "resources/unsubscribe":
            await self.may_unsubscribe.wait()
            self.subscriptions.discard(json.loads(params)["uri"])
        return result


class RunningOvertaken(Running):
    """A running group with such a server."""

    def __init__(self) -> None:
        super().__init__(modern=False)
        self.upstream = Overtaken(self.group)

    def connect(self, events: Events) -> Upstream:
        return self.upstream


async def test_a_new_subscription_waits_for_the_end_of_the_last_one() -> None:
    proxy = RunningOvertaken()
    upstream = proxy.upstream
    task = asyncio.create_task(proxy.group.run())
    subscriptions = proxy.group.subscriptions
    async with asyncio.timeout(SOON):
        await subscriptions.subscribe("x://1", "one")
        ending = asyncio.ensure_future(subscriptions.unsubscribe("x://1", "one"))
        await eventually(lambda: len(upstream.requests) == 2, "the unsubscription")
        again = asyncio.ensure_future(subscriptions.subscribe("x://1", "one"))
        await subscriptions.subscribe("x://2", "one")
        upstream.may_unsubscribe.set()
        await asyncio.gather(ending, again)
    assert upstream.subscriptions == {"x://1", "x://2"}
    task.cancel()
    await asyncio.wait([task])
    proxy.relay.close()


async def test_subscriptions_that_come_together_make_one_stream() -> None:
    uris = [f"x://{number}" for number in range(9)]
    async with running() as proxy:
        await proxy.streams(1)
        for uri in uris:
            await proxy.group.subscriptions.subscribe(uri, "one")
        _, updates = await proxy.streams(2)
        assert updates.wanted == {"resourceSubscriptions": uris}
        proxy.server.acknowledge(updates)
        proxy.group.subscriptions.release("one")
        await eventually(updates.end.done, "the end of the stream")
        await proxy.streams(2)


async def test_a_subscription_that_ends_while_the_server_is_down_is_no_matter_of_the_next_connection() -> (
    None
):
    async with running(modern=False) as proxy:
        subscriptions = proxy.group.subscriptions
        await subscriptions.subscribe("x://1", "one")
        proxy.server.death.set_result(UpstreamGone("it ended"))
        await eventually(lambda: proxy.group.upstream is None, "the end of the connection")
        ending = asyncio.ensure_future(subscriptions.unsubscribe("x://1", "one"))
        await skip(LONG)
        await eventually(lambda: len(proxy.servers) == 2, "the next connection")
        await ending
        assert proxy.server.requests == []
