"""The lists of a legacy server are used only while the server could announce that they changed."""

from __future__ import annotations

import asyncio

from dynamic_mcp.upstream.base import Events, Options, Upstream
from tests.dynamic_mcp.groups.test_subscriptions import Running, running


async def test_list_is_made_anew_while_the_server_cannot_announce_its_changes() -> None:
    async with running(modern=False) as proxy:
        assert await proxy.tools() == ["v1"]
        before = proxy.server.listings
        assert await proxy.tools() == ["v1"]
        assert proxy.server.listings == before

        proxy.server.hears, proxy.server.version = False, 2
        assert await proxy.tools() == ["v2"]


async def test_no_list_of_before_is_used_once_the_server_can_announce_its_changes_again() -> None:
    async with running(modern=False) as proxy:
        assert await proxy.tools() == ["v1"]
        proxy.server.version = 2
        proxy.group.on_hearing()
        assert await proxy.tools() == ["v2"]
        before = proxy.server.listings
        assert await proxy.tools() == ["v2"]
        assert proxy.server.listings == before


async def test_list_of_the_start_is_made_anew_if_the_server_could_not_announce_its_changes_yet() -> None:
    class ChangesAtTheStart(Running):
        def connect(self, events: Events) -> Upstream:
            upstream = super().connect(events)
            right = self.server.request

            async def request(method: str, params: bytes, options: Options) -> bytes:
                answer = await right(method, params, options)
                if self.server.version == 1:
                    self.server.version = 2
                    events.on_hearing()
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
