"""The state of a group while its upstream is slow to start."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from dynamic_mcp.errors import SignInNeeded, StillStarting, UpstreamFailed
from dynamic_mcp.groups import backoff
from dynamic_mcp.groups.backoff import Backoff
from dynamic_mcp.groups.state import MIN_AGE, START_WAIT, GroupState, State
from tests.dynamic_mcp.clocks import ManualClock, skip
from tests.dynamic_mcp.fakes import FakeUpstream


async def test_a_slow_start_answers_with_the_words_of_the_server_and_then_serves() -> None:
    clock = ManualClock()
    group, upstream = GroupState("a", clock), FakeUpstream()
    with group.attempt(lambda: "Downloading"):
        waiting = asyncio.ensure_future(group.connected())
        clock.advance(START_WAIT)
        await skip(START_WAIT)
        for call in (waiting, group.connected()):
            with pytest.raises(StillStarting, match="still starting, since 10 s") as caught:
                await call
            assert caught.value.last_output == "Downloading"
        assert not group.first_attempt_over.is_set()
        group.set_ready(upstream)
    assert await group.connected() is upstream


async def test_a_call_does_not_wait_for_ever_for_a_turn() -> None:
    group = GroupState("a")
    call = asyncio.ensure_future(group.connected())
    await skip(START_WAIT)
    with pytest.raises(StillStarting, match="waits for its turn"):
        await call
    assert not group.is_wanted()


async def test_a_start_is_wanted_while_a_call_waits() -> None:
    group = GroupState("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(group.connected)
        await anyio.sleep(0.01)
        assert group.is_wanted()
        tasks.cancel_scope.cancel()
    assert not group.is_wanted()


async def test_the_failure_of_a_slow_start_is_the_reason_from_then_on() -> None:
    group = GroupState("a")
    with group.attempt(str):
        await skip(START_WAIT)
        group.set_failed("it ended")
    with pytest.raises(Exception, match="it ended"):
        await group.connected()
    assert group.first_attempt_over.is_set()


async def test_calls_wait_after_a_slow_start_that_leads_to_a_sign_in() -> None:
    group, upstream = GroupState("a"), FakeUpstream()
    with pytest.raises(SignInNeeded), group.attempt(str):
        await skip(START_WAIT)
        assert group.current is State.SLOW
        raise SignInNeeded("sign in")
    call = asyncio.ensure_future(group.connected())
    await asyncio.sleep(0)
    # Else the call would look again and again.
    assert group.current is State.STARTING
    group.set_ready(upstream)
    assert await call is upstream


async def test_calls_wait_after_the_loss_of_a_connection_until_its_reason_is_known() -> None:
    group = GroupState("a")
    group.set_ready(FakeUpstream())
    group.drop_upstream()
    call = asyncio.ensure_future(group.connected())
    await asyncio.sleep(0)
    assert group.current is State.STARTING
    group.set_failed("it crashed")
    with pytest.raises(UpstreamFailed, match="it crashed"):
        await call


async def test_replaced_group_keeps_its_connection_and_then_leads_to_its_successor() -> None:
    group, upstream = GroupState("a"), FakeUpstream()
    group.set_ready(upstream)
    group.set_replaced()
    assert await group.connected() is upstream
    group.set_failed("it crashed")
    assert await group.connected() is None
    group.set_ready(upstream)
    assert await group.connected() is upstream
    group.end("its definition was changed")
    assert await group.connected() is None


async def test_group_that_has_ended_stays_so() -> None:
    group = GroupState("a")
    group.set_ready(FakeUpstream())
    group.end("it is gone")
    group.drop_upstream()
    group.set_failed("it crashed")
    with pytest.raises(UpstreamFailed, match="it is gone"):
        await group.connected()


async def test_the_end_of_a_slow_start_does_not_hide_that_the_group_was_replaced() -> None:
    group = GroupState("a")
    with group.attempt(str):
        await skip(START_WAIT)
        group.set_replaced()
    assert await asyncio.wait_for(group.connected(), 5) is None


async def test_the_end_of_a_slow_start_does_not_hide_the_end_of_the_group() -> None:
    group = GroupState("a")
    with group.attempt(str):
        await skip(START_WAIT)
        group.end("it is gone")
    with pytest.raises(UpstreamFailed, match="it is gone"):
        await asyncio.wait_for(group.connected(), 5)


async def test_an_old_failure_is_tried_again_at_once() -> None:
    clock = ManualClock()
    group, upstream, attempts = GroupState("a", clock), FakeUpstream(), 0

    def attempt() -> None:
        nonlocal attempts
        attempts += 1

    group.set_failed("it ended")
    with group.backoff(attempt):
        group.try_again()
        assert group.failure is not None
        clock.advance(MIN_AGE)
        for _ in range(2):
            group.try_again()
    assert attempts == 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(group.connected)
        await anyio.sleep(0.01)
        group.set_ready(upstream)
    assert await group.connected() is upstream


async def test_no_call_starts_an_attempt_within_a_pause_of_the_server() -> None:
    clock = ManualClock()
    group, attempts = GroupState("a", clock), 0

    def attempt() -> None:
        nonlocal attempts
        attempts += 1

    group.set_failed("it answered with HTTP 429", "slow down", "pay", pause=20.0)
    with group.backoff(attempt):
        for passed, left in [(0.0, 20), (10.5, 10), (9.0, 1)]:
            clock.advance(passed)
            group.try_again()
            with pytest.raises(UpstreamFailed) as raised:
                await group.connected()
            assert str(raised.value) == f"it answered with HTTP 429; the next attempt is in {left} s"
            assert (raised.value.last_output, raised.value.remedy) == ("slow down", "pay")
        assert attempts == 0
        clock.advance(0.5)
        with pytest.raises(UpstreamFailed, match=r"429$"):
            await group.connected()
        group.try_again()
    assert attempts == 1


async def test_later_failure_has_no_pause() -> None:
    clock = ManualClock()
    group = GroupState("a", clock)
    group.set_failed("it answered with HTTP 429", pause=20.0)
    group.set_failed("it ended")
    with pytest.raises(UpstreamFailed, match=r"it ended$"):
        await group.connected()


def test_a_failure_outside_of_the_backoff_stays() -> None:
    clock = ManualClock()
    group = GroupState("a", clock)
    group.set_failed("it waits for a sign-in")
    clock.advance(MIN_AGE)
    group.try_again()
    assert group.failure is not None


def test_delays_are_spread() -> None:
    delays = set()
    for _ in range(20):
        one = Backoff()
        one.after_failure()
        delays.add(one.next)
    shortest, longest = backoff.RETRY_DELAYS[0], backoff.RETRY_DELAYS[0] * (1 + backoff.JITTER)
    assert len(delays) > 10
    assert all(shortest <= delay <= longest for delay in delays)


def test_a_delay_is_chosen_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory, an import fails, and an error at this place would end the proxy."""

    def no_memory(*arguments: object) -> None:
        raise MemoryError

    one = Backoff()
    with monkeypatch.context() as patch:
        patch.setattr("builtins.__import__", no_memory)
        one.after_failure()
    assert one.next >= backoff.RETRY_DELAYS[0]
