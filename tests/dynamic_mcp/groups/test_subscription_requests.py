"""The requests for subscriptions: their order, their number, and a refused resource among others."""

from __future__ import annotations

import asyncio
import json

from dynamic_mcp.upstream.base import Events, Options, Upstream
from tests.dynamic_mcp.groups.test_subscriptions import Running, Server
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
