"""What calls find after a running server has died: they wait after its first death, and fail after one soon after."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.fakes import FakeUpstream, NoConnector, server


class Mortal(FakeUpstream):
    """Dies when ``death`` gets its reason."""

    def __init__(self) -> None:
        super().__init__()
        self.death: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        return b'{"tools":[]}'

    async def wait_lost(self) -> UpstreamGone:
        return await self.death


class Connector(NoConnector):
    def __init__(self) -> None:
        self.made: list[Mortal] = []

    def connect(self, events: Events) -> Upstream:
        self.made.append(Mortal())
        return self.made[-1]


async def test_calls_wait_after_the_first_death_and_fail_after_the_next() -> None:
    connector = Connector()
    group = Group(server("a"), connector, Relay(ClientSession(lambda line: None), {}), Hooks())
    running = asyncio.create_task(group.run())
    assert await group.connected() is connector.made[0]

    connector.made[0].death.set_result(UpstreamGone("it ended"))
    await skip(0.0)
    waiting = asyncio.create_task(group.connected())
    await skip(0.5)
    assert not waiting.done()
    await skip(0.75)
    # The documented second, and up to a quarter more, is over.
    async with asyncio.timeout(4):
        assert await waiting is connector.made[1]

    connector.made[1].death.set_result(UpstreamGone("it ended again"))
    await skip(0.0)
    with pytest.raises(UpstreamFailed, match="it was connected, but it ended again"):
        await group.connected()
    await skip(2.5)
    async with asyncio.timeout(4):
        assert await group.connected() is connector.made[2]

    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
