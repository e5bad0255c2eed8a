"""Lists that are made anew without a notification: how often, and what happens if that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.groups import renewals
from dynamic_mcp.groups.listing import PROMPTS, TOOLS, Freshness, Listing, announces_changes
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.renewals import BURST, LISTING_WAIT, Renewals
from dynamic_mcp.upstream.base import Handshake
from tests.dynamic_mcp.clocks import ManualClock, skip
from tests.dynamic_mcp.fakes import FakeUpstream
from tests.dynamic_mcp.helpers import eventually

CHANGED = "notifications/tools/list_changed"


class Maker:
    """Makes listings, each with its number; it can fail or take time."""

    def __init__(self) -> None:
        self.made = 0
        self.error: UpstreamFailed | None = None
        self.pause = 0.0
        self.cancelled = 0

    async def __call__(self) -> Listing:
        self.made += 1
        number = self.made
        try:
            await asyncio.sleep(self.pause)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return Listing({f"t{number}": Raw(b"{}")})


async def ask(cache: ListingCache, make: Maker, *, anew: bool = True) -> list[str]:
    return list(await cache.obtain(TOOLS, make, 10.0, Freshness.RENEWED if anew else Freshness.REQUESTED))


async def at_once(listing: Awaitable[list[str]]) -> list[str]:
    """The listing, without a wait of a second."""
    async with asyncio.timeout(0.9):
        return await listing


async def test_a_doubted_list_is_made_anew_a_few_times_only() -> None:
    cache, make = ListingCache("a"), Maker()
    assert await ask(cache, make, anew=False) == ["t1"]
    for _ in range(20):
        await ask(cache, make)
    assert make.made == 1 + BURST
    cache.tool_called()
    assert await ask(cache, make) == [f"t{make.made}"]
    assert make.made == 2 + BURST
    assert await ask(cache, make, anew=False) == [f"t{make.made}"]


async def test_callers_at_the_same_time_share_a_new_list() -> None:
    cache, make = ListingCache("a"), Maker()
    await ask(cache, make)
    make.pause = 0.05
    await asyncio.gather(*(ask(cache, make) for _ in range(20)))
    assert make.made <= 1 + BURST


async def test_a_new_list_is_younger_than_its_request() -> None:
    cache, make = ListingCache("a"), Maker()
    await ask(cache, make)
    make.pause = 0.05
    first = asyncio.ensure_future(ask(cache, make))
    await asyncio.sleep(0.02)
    assert await ask(cache, make) == ["t3"]
    assert await first == ["t2"]


async def test_the_known_list_stays_if_no_new_one_comes() -> None:
    cache, make = ListingCache("a"), Maker()
    await ask(cache, make)
    make.pause = 60.0
    asked = asyncio.ensure_future(ask(cache, make))
    await skip(LISTING_WAIT - 0.5)
    assert not asked.done()
    await skip(0.5)
    assert await asked == ["t1"]
    assert await ask(cache, make) == ["t1"]
    assert make.made == 2, "not every caller waits"


async def test_an_error_leaves_the_known_list_and_reaches_the_first_caller() -> None:
    cache, make = ListingCache("a"), Maker()
    make.error = UpstreamFailed("it broke")
    with pytest.raises(UpstreamFailed):
        await ask(cache, make)
    make.error = None
    assert await ask(cache, make) == ["t2"]
    make.error = UpstreamFailed("it broke")
    assert await ask(cache, make) == ["t2"]


def test_the_allowance_comes_back_with_time() -> None:
    clock = ManualClock()
    allowance = Renewals(clock)
    assert [allowance.take() for _ in range(BURST + 1)] == [True] * BURST + [False]
    clock.advance(renewals.INTERVAL)
    assert [allowance.take(), allowance.take()] == [True, False]
    allowance.pause()
    allowance.earn()
    assert [allowance.take(), allowance.take()] == [True, False], "the server is not busy any more"
    allowance.pause()
    clock.advance(renewals.PAUSE - 1.0)
    assert not allowance.take()
    clock.advance(1.0)
    assert allowance.take()


@pytest.mark.parametrize(
    ("declared", "announces"),
    [(b'{"listChanged":true}', True), (b'{"listChanged":false}', False), (b"{}", False), (b"true", False)],
)
def test_only_a_declared_flag_announces_changes(declared: bytes, announces: bool) -> None:
    upstream = FakeUpstream()
    upstream.agreed = Handshake({"tools": Raw(declared)})
    assert announces_changes(upstream, TOOLS) is announces
    assert not announces_changes(upstream, PROMPTS)


async def use(cache: ListingCache, make: Maker, seconds: float = 10.0) -> list[str]:
    """Obtain the list as a call of a known name does."""
    return list(await cache.obtain(TOOLS, make, seconds, Freshness.KNOWN))


async def test_calls_wait_once_for_a_slow_list_after_a_change(caplog: pytest.LogCaptureFixture) -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    cache.invalidate(CHANGED)
    make.pause = 20.0
    first = asyncio.ensure_future(use(cache, make))
    await skip(LISTING_WAIT - 0.5)
    assert not first.done()
    await skip(0.5)
    assert await first == ["t1"]
    for _ in range(3):
        assert await at_once(use(cache, make)) == ["t1"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "group a: the last tools/list stays in use: no complete answer to tools/list within 3 s"
    ]
    await skip(20.0 - LISTING_WAIT)
    assert await at_once(use(cache, make)) == ["t2"]
    assert make.made == 2


async def test_client_that_asks_for_the_list_waits_for_the_one_after_the_change() -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    cache.invalidate(CHANGED)
    make.pause = 20.0
    asked = asyncio.ensure_future(cache.obtain(TOOLS, make, 30.0, Freshness.REQUESTED))
    await skip(19.0)
    assert not asked.done()
    await skip(1.0)
    assert list(await asked) == ["t2"]


async def test_half_of_the_time_of_a_call_stays_for_the_call() -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    cache.invalidate(CHANGED)
    make.pause = 20.0
    call = asyncio.ensure_future(use(cache, make, 4.0))
    await skip(2.0)
    assert await at_once(call) == ["t1"]


@pytest.mark.parametrize("is_in_vain", [False, True])
async def test_calls_do_not_list_again_soon_after_a_list_in_vain(is_in_vain: bool) -> None:
    """The list fails, or the server announces a change with each answer."""

    class Maker_(Maker):
        async def __call__(self) -> Listing:
            listing = await super().__call__()
            if is_in_vain:
                cache.invalidate(CHANGED)
            return listing

    cache, make = ListingCache("a"), Maker_()
    await use(cache, make)
    cache.invalidate(CHANGED)
    if not is_in_vain:
        make.error = UpstreamFailed("it broke")
    await use(cache, make)
    before = make.made
    last = await use(cache, make)
    cache.tool_called()
    assert await use(cache, make) == last
    assert make.made == before
    assert await ask(cache, make, anew=False)
    assert make.made > before, "a client that asks for the list gets a new one"
    before = make.made
    await skip(renewals.PAUSE)
    await use(cache, make)
    assert make.made > before


async def test_call_after_a_doubt_uses_the_last_list_at_once_and_renews_it() -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    await skip(renewals.PAUSE)
    cache.doubt([TOOLS])
    make.pause = 20.0
    for _ in range(3):
        assert await at_once(use(cache, make)) == ["t1"]
    await skip(20.0)
    assert make.made == 2
    assert cache.get(TOOLS) is not None
    assert await at_once(use(cache, make)) == ["t2"]


async def test_doubts_cost_calls_few_lists_and_each_client_that_asks_a_new_one() -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    for _ in range(20):
        cache.doubt([TOOLS])
        cache.tool_called()
        assert await use(cache, make) == ["t1"]
    assert make.made == 1
    for number in range(2, 5):
        cache.doubt([TOOLS])
        assert list(await cache.obtain(TOOLS, make, 10.0, Freshness.REQUESTED)) == [f"t{number}"]


async def test_doubt_does_not_begin_a_list_again() -> None:
    cache, make = ListingCache("a"), Maker()
    make.pause = 20.0
    call = asyncio.ensure_future(use(cache, make, 30.0))
    await skip(10.0)
    cache.doubt([TOOLS])
    await skip(10.0)
    assert await at_once(call) == ["t1"]
    assert make.made == 1
    assert cache.get(TOOLS) is None
    asked = asyncio.ensure_future(cache.obtain(TOOLS, make, 30.0, Freshness.REQUESTED))
    await skip(20.0)
    assert list(await asked) == ["t2"], "it began after the doubt"


async def test_end_of_the_connection_ends_a_list_without_callers() -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    cache.invalidate(CHANGED)
    make.pause = 3600.0
    call = asyncio.ensure_future(use(cache, make))
    await skip(LISTING_WAIT)
    assert await at_once(call) == ["t1"]
    cache.clear()
    await eventually(lambda: make.cancelled == 1, "the end of the list")
    assert cache.last(TOOLS) is None
    assert list(cache.names(TOOLS) or ()) == ["t1"]
    make.pause = 0.0
    assert await use(cache, make) == ["t3"]


async def test_error_of_a_list_without_callers_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    cache, make = ListingCache("a"), Maker()
    await use(cache, make)
    cache.invalidate(CHANGED)
    make.pause, make.error = 20.0, UpstreamFailed("it broke")
    call = asyncio.ensure_future(use(cache, make))
    await skip(LISTING_WAIT)
    assert await at_once(call) == ["t1"]
    caplog.clear()
    with caplog.at_level("DEBUG"):
        await skip(20.0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "group a: no new tools/list: it broke")
    ]
