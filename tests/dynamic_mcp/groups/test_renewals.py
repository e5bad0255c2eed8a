"""Lists that are made anew without a notification: how often, and what happens if that fails."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.groups import renewals
from dynamic_mcp.groups.listing import PROMPTS, TOOLS, Listing, announces_changes
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.renewals import BURST, PATIENCE, Renewals
from dynamic_mcp.upstream.base import Handshake
from tests.dynamic_mcp.clocks import ManualClock, skip
from tests.dynamic_mcp.fakes import FakeUpstream


class Maker:
    """Makes listings, each with its number; it can fail or take time."""

    def __init__(self) -> None:
        self.made = 0
        self.error: UpstreamFailed | None = None
        self.pause = 0.0

    async def __call__(self) -> Listing:
        self.made += 1
        number = self.made
        await asyncio.sleep(self.pause)
        if self.error is not None:
            raise self.error
        return Listing({f"t{number}": Raw(b"{}")})


async def ask(cache: ListingCache, make: Maker, *, anew: bool = True) -> list[str]:
    return list(await cache.obtain(TOOLS, make, 10.0, anew=anew))


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
    assert await first == ["t3"]


async def test_the_known_list_stays_if_no_new_one_comes() -> None:
    cache, make = ListingCache("a"), Maker()
    await ask(cache, make)
    make.pause = 60.0
    asked = asyncio.ensure_future(ask(cache, make))
    await skip(PATIENCE - 0.5)
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


async def test_the_last_list_stays_after_a_change_if_no_new_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache, make = ListingCache("a"), Maker()
    await ask(cache, make, anew=False)
    cache.invalidate("notifications/tools/list_changed")
    make.pause = 60.0
    for last_will_do in (True, True, False):
        asked = asyncio.ensure_future(cache.obtain(TOOLS, make, 10.0, anew=False, last_will_do=last_will_do))
        await skip(PATIENCE if last_will_do else 10.0)
        assert list(await asked) == ["t1"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "group a: the last tools/list stays in use: no complete answer to tools/list within 3 s"
    ]
    make.pause = 0.0
    assert await ask(cache, make, anew=False) == ["t5"]
    cache.clear()
    assert cache.last(TOOLS) is None
    assert list(cache.names(TOOLS) or ()) == ["t5"]
