"""Limits for calls: the order, the timeouts, cancelled waits, and that no period exceeds the rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.config.model import CallRules, RateLimit
from dynamic_mcp.errors import CallRefused, UpstreamTimeout
from dynamic_mcp.extras.policy.limits import Limits
from tests.dynamic_mcp.helpers import WITHIN


class Calls:
    """Calls that each hold a slot until ``end``."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *names: str, timeout: float = WITHIN) -> None:
        """Start these calls."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._call(name, timeout))
        await run_pending()

    async def end(self, name: str) -> None:
        """End a call."""
        self._ends[name].set()
        await self._tasks.pop(name)
        await run_pending()

    def cancel(self, name: str) -> asyncio.Task[None]:
        """Cancel a call."""
        task = self._tasks.pop(name)
        task.cancel()
        return task

    async def _call(self, name: str, timeout: float) -> None:
        async with self.limits.slot(timeout):
            self.inside.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def run_pending() -> None:
    """Let all tasks go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def started_calls(policy: CallRules) -> AsyncIterator[Calls]:
    calls = Calls(Limits(policy))
    try:
        yield calls
    finally:
        await calls.close()


def at_once(maximum: int | None) -> CallRules:
    return CallRules(max_concurrent_calls=maximum)


async def test_calls_wait_in_order() -> None:
    async with started_calls(at_once(2)) as calls:
        await calls.start("a", "b", "c", "d", "e")
        assert calls.inside == ["a", "b"]
        await calls.end("b")
        assert calls.inside == ["a", "c"]
        await calls.start("f")
        await calls.end("a")
        assert calls.inside == ["c", "d"]


async def test_cancelled_waiter_is_skipped() -> None:
    async with started_calls(at_once(1)) as calls:
        await calls.start("a", "b", "c")
        calls.cancel("b")
        await calls.end("a")
        assert calls.inside == ["c"]


async def test_call_cancelled_at_its_turn_passes_the_slot_on() -> None:
    async with started_calls(at_once(1)) as calls:
        await calls.start("a", "b", "c")
        calls._ends["a"].set()
        await asyncio.sleep(0)
        assert calls.inside == []
        # The slot belongs to b, whose task has not run yet.
        calls.cancel("b")
        await run_pending()
        assert calls.inside == ["c"]


async def test_cancelled_call_frees_its_slot() -> None:
    async with started_calls(at_once(1)) as calls:
        await calls.start("a", "b")
        calls.cancel("a")
        await run_pending()
        assert calls.inside == ["b"]


async def test_wait_times_out_and_names_the_limit() -> None:
    async with started_calls(at_once(1)) as calls:
        await calls.start("a")
        with pytest.raises(
            UpstreamTimeout,
            match=r"waited 0.02 s for its turn; .* at most 1 calls at once .max_concurrent_calls",
        ):
            async with calls.limits.slot(0.02):
                pytest.fail("there was no place")
        await calls.start("b")
        await calls.end("a")
        assert calls.inside == ["b"]


@pytest.mark.parametrize(("maximum", "inside"), [(3, "abc"), (None, "abcd"), (1, "a")])
async def test_changed_limit_applies_at_once(maximum: int | None, inside: str) -> None:
    async with started_calls(at_once(1)) as calls:
        await calls.start("a", "b", "c", "d")
        calls.limits.set(at_once(maximum))
        await run_pending()
        assert calls.inside == list(inside)


async def test_lower_limit_starts_no_call_until_enough_have_ended() -> None:
    async with started_calls(at_once(3)) as calls:
        await calls.start("a", "b", "c", "d")
        calls.limits.set(at_once(2))
        await calls.end("a")
        assert calls.inside == ["b", "c"]
        await calls.end("b")
        assert calls.inside == ["c", "d"]


async def test_refusal_names_the_limit_and_the_delay() -> None:
    limits, clock = Limits(CallRules(rate_limit=RateLimit(2, 60.0))), [0.0]
    limits._now = lambda: clock[0]
    for clock[0] in (0.0, 10.0):
        async with limits.slot(1.0):
            pass
    clock[0] = 15.04

    with pytest.raises(CallRefused, match=r"at most 2 calls in 60 s .*try again in 45 s"):
        async with limits.slot(1.0):
            pytest.fail("it is one too many")


_Arrival = tuple[float, float]


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 3.0)), max_size=25),
)
def test_no_period_exceeds_the_rate(calls: int, slots: int, arrivals: list[_Arrival]) -> None:
    asyncio.run(_simulate(calls, slots, arrivals))


async def _simulate(calls: int, slots: int, arrivals: list[_Arrival]) -> None:
    """Start calls on a simulated clock, each after a pause and with a duration."""
    clock, per = [0.0], 1.0
    limits = Limits(CallRules(rate_limit=RateLimit(calls, per), max_concurrent_calls=slots))
    limits._now = lambda: clock[0]
    starts: list[float] = []
    ends: list[tuple[float, asyncio.Event]] = []
    refused = 0

    async def call(duration: float) -> None:
        nonlocal refused
        try:
            async with limits.slot(WITHIN):
                starts.append(clock[0])
                ended = asyncio.Event()
                ends.append((clock[0] + duration, ended))
                await ended.wait()
        except CallRefused:
            refused += 1

    async def advance_to(instant: float) -> None:
        while ends and min(ends, key=lambda end: end[0])[0] <= instant:
            end = min(ends, key=lambda end: end[0])
            ends.remove(end)
            clock[0] = max(clock[0], end[0])
            end[1].set()
            await run_pending()
        clock[0] = max(clock[0], instant)

    tasks = []
    for pause, duration in arrivals:
        await advance_to(clock[0] + pause)
        tasks.append(asyncio.create_task(call(duration)))
        await run_pending()
    while ends:
        await advance_to(clock[0] + 1.0)
    await asyncio.gather(*tasks)

    assert len(starts) + refused == len(arrivals)
    for first, start in enumerate(starts):
        assert sum(start <= other < start + per for other in starts[first:]) <= calls
