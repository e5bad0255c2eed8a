"""Turns: a few starts at a time, those that a client waits for first, and none is held by a child that waits."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from dynamic_mcp.process import turns as module
from dynamic_mcp.process.turns import StartTurns
from tests.dynamic_mcp.helpers import WITHIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUSY = "while True: pass"
IDLE = "import time; time.sleep(60)"


@asynccontextmanager
async def child(code: str) -> AsyncIterator[int]:
    """The group of a child that runs this code."""
    process = subprocess.Popen(  # noqa: ASYNC220  # it takes a millisecond
        [sys.executable, "-I", "-S", "-c", code], start_new_session=True
    )
    try:
        await anyio.sleep(0.2)
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def order_of(turns: StartTurns, *wanted: bool) -> list[int]:
    """The order in which starts begin that queue behind a full row, by their numbers."""
    order: list[int] = []

    async def start(number: int, is_wanted: bool) -> None:
        async with turns.turn(lambda: is_wanted, lambda: None):
            order.append(number)

    async with anyio.create_task_group() as tasks, turns.turn(lambda: False, lambda: None):
        for number, is_wanted in enumerate(wanted):
            tasks.start_soon(start, number, is_wanted)
        await anyio.sleep(0.05)
        assert order == []
    return order


async def test_wanted_starts_come_first_and_the_others_in_order() -> None:
    with anyio.fail_after(WITHIN):
        assert await order_of(StartTurns(1), False, False, True) == [2, 0, 1]


async def test_a_cancelled_start_passes_its_turn_on() -> None:
    turns = StartTurns(1)
    with anyio.fail_after(WITHIN):
        with anyio.move_on_after(0.05):
            async with turns.turn(lambda: False, lambda: None):
                await anyio.sleep_forever()
        with anyio.move_on_after(0.05):
            async with turns.turn(lambda: False, lambda: None), turns.turn(lambda: False, lambda: None):
                raise AssertionError("the second start has no turn")
        async with turns.turn(lambda: False, lambda: None):
            pass


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only /proc shows the processor time of a group")
async def test_an_idle_child_loses_its_turn_and_a_busy_one_keeps_it() -> None:
    with anyio.fail_after(WITHIN):
        async with child(IDLE) as idle, child(BUSY) as busy:
            turns = StartTurns(1)
            async with turns.turn(lambda: False, lambda: idle), turns.turn(lambda: False, lambda: busy):
                with anyio.move_on_after(4 * module.SAMPLE) as waiting:
                    async with turns.turn(lambda: False, lambda: None):
                        pass
                assert waiting.cancelled_caught


async def test_a_turn_ends_at_its_longest_even_for_a_busy_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TURN", 0.3)
    monkeypatch.setattr(module, "MAX_BLIND_TURN", 0.3)
    with anyio.fail_after(WITHIN):
        async with child(BUSY) as busy:
            turns = StartTurns(1)
            async with turns.turn(lambda: False, lambda: busy), turns.turn(lambda: False, lambda: None):
                pass
