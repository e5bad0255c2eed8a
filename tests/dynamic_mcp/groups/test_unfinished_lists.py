"""A list that its callers have left: it delays neither the end of its group nor that of its connection."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dynamic_mcp.config.model import Timeouts
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.groups.listing import TOOLS, Listing
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.renewals import LISTING_WAIT
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_subscriptions import Running, running
from tests.dynamic_mcp.helpers import WITHIN, eventually


class Unfinished:
    """Lets the server of a group announce a change, and take for ever for the new list, which a call then waits for in vain."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0

    async def begin(self, proxy: Running) -> None:
        right = proxy.server.request

        async def request(method: str, params: bytes, options: Options) -> bytes:
            if method != TOOLS.method:
                return await right(method, params, options)
            self.begun += 1
            try:
                never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                return await never
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        proxy.server.request = request  # type: ignore[method-assign]
        proxy.group.define(msgspec.structs.replace(proxy.group.server, timeouts=Timeouts(tools=3600.0)))
        proxy.server.announce("notifications/tools/list_changed")
        call = asyncio.ensure_future(proxy.group.listing(TOOLS))
        await skip(LISTING_WAIT)
        assert list(await call) == ["v1"]
        assert (self.begun, self.cancelled) == (1, 0)


async def test_replaced_group_does_not_wait_for_it() -> None:
    unfinished = Unfinished()
    async with running(modern=False) as proxy:
        await unfinished.begin(proxy)
        async with asyncio.timeout(WITHIN):
            await proxy.group.finish_calls()
        assert unfinished.cancelled == 1


@pytest.mark.parametrize("end", ["crash", "stop"])
async def test_end_of_the_connection_ends_it(end: str) -> None:
    unfinished = Unfinished()
    async with running(modern=False) as proxy:
        await unfinished.begin(proxy)
        if end == "crash":
            proxy.server.death.set_result(UpstreamGone("it ended"))
            await eventually(lambda: unfinished.cancelled == 1, "the end of the list")
    assert unfinished.cancelled == 1


async def test_a_caller_of_a_cancelled_list_gets_an_error() -> None:
    """A cancellation would look like one by the client, which then gets no answer."""
    cache, begun = ListingCache("g"), asyncio.Event()

    async def cancelled() -> Listing:
        begun.set()
        raise asyncio.CancelledError

    with pytest.raises(UpstreamFailed, match="closed the connection"):
        async with asyncio.timeout(WITHIN):
            await cache.fill(TOOLS, cancelled)
    assert begun.is_set()
