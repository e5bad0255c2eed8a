"""The lists of a legacy server are used only while the server could announce that they changed."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.patience import Patience
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Freshness
from dynamic_mcp.groups.renewals import BURST, INTERVAL
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_subscriptions import Running, running


async def test_list_is_made_anew_while_the_server_cannot_announce_its_changes() -> None:
    async with running(modern=False) as proxy:
        assert await proxy.tools() == ["v1"]
        before = proxy.server.listings
        assert await proxy.tools() == ["v1"]
        assert proxy.server.listings == before

        proxy.server.delivers_notifications, proxy.server.version = False, 2
        assert await proxy.tools() == ["v2"]


async def test_no_list_of_before_is_used_once_the_server_can_announce_its_changes_again() -> None:
    async with running(modern=False) as proxy:
        assert await proxy.tools() == ["v1"]
        proxy.server.version = 2
        proxy.group.on_stream_open()
        assert await proxy.tools() == ["v2"]
        before = proxy.server.listings
        assert await proxy.tools() == ["v2"]
        assert proxy.server.listings == before


async def test_call_uses_a_doubted_list_at_once() -> None:
    async with running(modern=False) as proxy:
        before = proxy.server.listings
        proxy.group.on_stream_open()
        assert list(await proxy.group.listing(TOOLS)) == ["v1"]
        assert proxy.server.listings == before


@pytest.mark.parametrize("announces", [True, False])
async def test_client_hears_of_a_change_that_the_server_could_not_announce(announces: bool) -> None:
    async with running(modern=False) as proxy:
        if not announces:
            proxy.server.agreed.capabilities["tools"] = Raw(b"{}")
        patience = Patience(lambda kind: None)
        compared = partial(patience.listing, proxy.group, TOOLS, Freshness.COMPARED)
        proxy.server.version = 2
        assert list(await compared() or ()) == ["v1"]
        proxy.group.on_stream_open()
        assert list(await compared() or ()) == (["v2"] if announces else ["v1"])


async def test_streams_that_end_again_and_again_cause_few_comparisons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suspected: list[Group] = []
    monkeypatch.setattr(Relay, "suspect_lists", lambda self, group: suspected.append(group))
    async with running(modern=False) as proxy:
        suspected.clear()
        for _ in range(20):
            proxy.group.on_stream_open()
        assert len(suspected) == BURST
        await skip(INTERVAL)
        assert len(suspected) == BURST + 1


async def test_list_of_the_start_is_made_anew_if_the_server_could_not_announce_its_changes_yet() -> None:
    class ChangesAtTheStart(Running):
        def connect(self, events: Events) -> Upstream:
            upstream = super().connect(events)
            right = self.server.request

            async def request(method: str, params: bytes, options: Options) -> bytes:
                answer = await right(method, params, options)
                if self.server.version == 1:
                    self.server.version = 2
                    events.on_stream_open()
                return answer

            self.server.request = request  # type: ignore[method-assign]
            return upstream

    proxy = ChangesAtTheStart(modern=False)
    task = asyncio.create_task(proxy.group.run())
    await proxy.group.connected()
    assert await proxy.tools() == ["v2"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    proxy.relay.close()
