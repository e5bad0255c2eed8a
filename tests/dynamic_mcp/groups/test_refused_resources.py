"""A modern server that refuses a resource keeps the client from no other one: a listen request names the resources of all clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dynamic_mcp.errors import UpstreamRefused
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_subscriptions import LISTEN, LONG, Running, Server
from tests.dynamic_mcp.helpers import eventually


class Picky(Server):
    """A server that refuses each listen request with a bad URI, and acknowledges the others."""

    code = -32602

    def __init__(self, events: Events) -> None:
        super().__init__(events, modern=True)
        self.bad = {"bad"}
        self.listens = 0

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method == LISTEN:
            self.listens += 1
            if self.bad.intersection(json.loads(params)["notifications"].get("resourceSubscriptions", ())):
                raise UpstreamRefused(b'{"code":%d,"message":"no"}' % self.code)
            count = len(self.streams)
            asyncio.get_running_loop().call_soon(lambda: self.acknowledge(self.streams[count]))
        return await super().request(method, params, options)

    def heard(self) -> list[str]:
        """The URIs of the open streams, sorted; a URI of two streams comes twice."""
        streams = [stream for stream in self.streams if not stream.end.done()]
        return sorted(uri for stream in streams for uri in stream.wanted.get("resourceSubscriptions", ()))


class RunningPicky(Running):
    """A running group with such a server."""

    def __init__(self) -> None:
        super().__init__(modern=True)
        self.picky = Picky(self.group)

    def connect(self, events: Events) -> Upstream:
        return self.picky

    async def subscribe(self, *uris: str) -> None:
        """Subscribe a client of its own to these."""
        for uri in uris:
            await self.group.subscriptions.subscribe(uri, uris)

    async def hears(self, *uris: str) -> None:
        """Wait until there are streams for these alone, and see that there is one stream each."""
        await eventually(lambda: self.picky.heard() == sorted(uris), f"streams for {uris}")


@asynccontextmanager
async def running_picky() -> AsyncIterator[RunningPicky]:
    found = RunningPicky()
    task = asyncio.create_task(found.group.run())
    await found.group.connected()
    yield found
    task.cancel()
    await asyncio.wait([task])
    found.relay.close()


async def test_a_refused_resource_does_not_keep_a_later_one_from_its_updates() -> None:
    async with running_picky() as proxy:
        await proxy.subscribe("bad")
        await eventually(lambda: proxy.picky.listens == 2, "the refusal")
        await proxy.subscribe("good")
        await proxy.hears("good")


@pytest.mark.parametrize("code", [-32602, -32002])
async def test_refused_resources_are_found_among_many(
    code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "code", code)
    async with running_picky() as proxy:
        await proxy.subscribe("old")
        await proxy.hears("old")
        proxy.picky.bad |= {"x://3", "x://8"}
        await proxy.subscribe("bad", *(f"x://{number}" for number in range(10)))
        good = [f"x://{number}" for number in range(10) if number not in {3, 8}]
        await proxy.hears("old", *good)
        listens = proxy.picky.listens
        await skip(LONG)
        await proxy.hears("old", *good)
        assert proxy.picky.listens == listens
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "miss updates" in warnings[0]


async def test_a_resource_that_was_refused_gets_another_try_with_the_next_subscription() -> None:
    async with running_picky() as proxy:
        await proxy.subscribe("good", "bad")
        await proxy.hears("good")
        proxy.picky.bad.clear()
        await proxy.subscribe("bad")
        await proxy.hears("bad", "good")


async def test_a_server_without_streams_gets_one_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "code", -32601)
    async with running_picky() as proxy:
        await proxy.subscribe("bad", "x://1", "x://2")
        await eventually(lambda: "miss updates" in caplog.text, "the warning")
        await skip(LONG)
        assert proxy.picky.listens == 2
