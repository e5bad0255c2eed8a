"""Limits on calls: the order, the timeouts, whoever stops waiting, and that no period ever holds more calls than it may."""

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


class Crowd:
    """Calls that each hold a place until they are told to leave it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str, timeout: float = WITHIN) -> None:
        """Begin these calls."""
        for name in names:
            self._leave[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._stay(name, timeout))
        await turns()

    async def leave(self, name: str) -> None:
        """End a call."""
        self._leave[name].set()
        await self._tasks.pop(name)
        await turns()

    def give_up(self, name: str) -> asyncio.Task[None]:
        """Cancel a call."""
        task = self._tasks.pop(name)
        task.cancel()
        return task

    async def _stay(self, name: str, timeout: float) -> None:
        async with self.limits.slot(timeout):
            self.inside.append(name)
            try:
                await self._leave[name].wait()
            finally:
                self.inside.remove(name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def turns() -> None:
    """Let everybody go on who can."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def crowd(policy: CallRules) -> AsyncIterator[Crowd]:
    made = Crowd(Limits(policy))
    try:
        yield made
    finally:
        await made.close()


def at_once(most: int | None) -> CallRules:
    return CallRules(max_concurrent_calls=most)


async def test_calls_wait_in_the_order_in_which_they_came() -> None:
    async with crowd(at_once(2)) as calls:
        await calls.come("a", "b", "c", "d", "e")
        assert calls.inside == ["a", "b"]
        await calls.leave("b")
        assert calls.inside == ["a", "c"]
        await calls.come("f")
        await calls.leave("a")
        assert calls.inside == ["c", "d"]


async def test_whoever_stops_waiting_is_passed_over() -> None:
    async with crowd(at_once(1)) as calls:
        await calls.come("a", "b", "c")
        calls.give_up("b")
        await calls.leave("a")
        assert calls.inside == ["c"]


async def test_a_call_that_is_cancelled_when_its_turn_comes_gives_its_place_to_the_next() -> None:
    async with crowd(at_once(1)) as calls:
        await calls.come("a", "b", "c")
        calls._leave["a"].set()
        await asyncio.sleep(0)
        assert calls.inside == []
        # The place is promised to b, whose task has not run yet.
        calls.give_up("b")
        await turns()
        assert calls.inside == ["c"]


async def test_a_cancelled_call_leaves_its_place() -> None:
    async with crowd(at_once(1)) as calls:
        await calls.come("a", "b")
        calls.give_up("a")
        await turns()
        assert calls.inside == ["b"]


async def test_waiting_ends_with_the_timeout_and_says_what_it_waited_for() -> None:
    async with crowd(at_once(1)) as calls:
        await calls.come("a")
        with pytest.raises(UpstreamTimeout, match=r"waited 0.02 s for one of 1 calls .*max_concurrent_calls"):
            async with calls.limits.slot(0.02):
                pytest.fail("there was no place")
        await calls.come("b")
        await calls.leave("a")
        assert calls.inside == ["b"]


@pytest.mark.parametrize(("most", "inside"), [(3, "abc"), (None, "abcd"), (1, "a")])
async def test_another_limit_holds_at_once(most: int | None, inside: str) -> None:
    async with crowd(at_once(1)) as calls:
        await calls.come("a", "b", "c", "d")
        calls.limits.set(at_once(most))
        await turns()
        assert calls.inside == list(inside)


async def test_a_limit_that_becomes_smaller_lets_nobody_in_until_enough_have_left() -> None:
    async with crowd(at_once(3)) as calls:
        await calls.come("a", "b", "c", "d")
        calls.limits.set(at_once(2))
        await calls.leave("a")
        assert calls.inside == ["b", "c"]
        await calls.leave("b")
        assert calls.inside == ["c", "d"]


async def test_a_refusal_names_the_limit_and_when_to_try_again() -> None:
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
def test_no_period_holds_more_calls_than_it_may_whoever_had_to_wait(
    calls: int, places: int, arrivals: list[_Arrival]
) -> None:
    asyncio.run(_simulate(calls, places, arrivals))


async def _simulate(calls: int, places: int, arrivals: list[_Arrival]) -> None:
    """Let calls come, so long after the one before and for so long, on a clock of their own."""
    clock, per = [0.0], 1.0
    limits = Limits(CallRules(rate_limit=RateLimit(calls, per), max_concurrent_calls=places))
    limits._now = lambda: clock[0]
    begun: list[float] = []
    ends: list[tuple[float, asyncio.Event]] = []
    refused = 0

    async def call(duration: float) -> None:
        nonlocal refused
        try:
            async with limits.slot(WITHIN):
                begun.append(clock[0])
                over = asyncio.Event()
                ends.append((clock[0] + duration, over))
                await over.wait()
        except CallRefused:
            refused += 1

    async def go_on_to(instant: float) -> None:
        while ends and min(ends, key=lambda end: end[0])[0] <= instant:
            end = min(ends, key=lambda end: end[0])
            ends.remove(end)
            clock[0] = max(clock[0], end[0])
            end[1].set()
            await turns()
        clock[0] = max(clock[0], instant)

    tasks = []
    for pause, duration in arrivals:
        await go_on_to(clock[0] + pause)
        tasks.append(asyncio.create_task(call(duration)))
        await turns()
    while ends:
        await go_on_to(clock[0] + 1.0)
    await asyncio.gather(*tasks)

    assert len(begun) + refused == len(arrivals)
    for at, instant in enumerate(begun):
        assert sum(instant <= other < instant + per for other in begun[at:]) <= calls
