"""Schedules many checks at once: which of them run beside each other, and what cancels them all.

The bounds hold for several implementations together as they do for one. Limit: a check that blocks the event loop delays all others.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.abc

from conformance.engine.longest import LONGEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from conformance.checks import Check
    from conformance.engine.execution import Execution


#: Serial checks at a time. Each keeps about one core busy or waits, and their bounds are far above what the reference needs.
SERIAL_JOBS = 2


async def schedule(work: Sequence[tuple[Execution, Check]], jobs: int) -> None:
    """Attempt every check, in three stages; in each, the longest first.

    First the checks that may run in parallel: `jobs` quick ones and `jobs` slow ones at a time, because slow ones mostly wait. When no
    quick one is left, twice as many slow ones run (`jobs=1`: one check at a time). Then the serial checks, two at a time. Then, alone, a
    second attempt at each check whose result needs one. An implementation that is silent ends the schedule.
    """
    ordered = sorted(work, key=lambda one: _longest_first(one[1]))
    parallel = [one for one in ordered if not one[1].serial]
    slow, quick = (deque(one for one in parallel if one[1].slow is is_slow) for is_slow in (True, False))
    serial = deque(one for one in ordered if one[1].serial)
    executions = list(dict.fromkeys(execution for execution, _ in work))
    while slow or quick or serial:
        await _work_off_all(slow, quick, serial, jobs)
        for execution in executions:
            if execution.is_silent:
                await execution.confirm_silence()
            if execution.is_silent:
                return
    for execution, check in work:
        if execution.wants_again(check):
            await execution.attempt(check)


_Queue: TypeAlias = "deque[tuple[Execution, Check]]"


async def _work_off_all(slow: _Queue, quick: _Queue, serial: _Queue, jobs: int) -> None:
    """Make one attempt at each check, until the queues are empty or an implementation is silent."""
    async with anyio.create_task_group() as workers:
        if jobs == 1:
            workers.start_soon(_work_off, slow, quick)
        else:
            for _ in range(jobs):
                workers.start_soon(_work_off, slow)
                workers.start_soon(_work_off, quick, slow)
    async with anyio.create_task_group() as workers:
        for _ in range(min(jobs, SERIAL_JOBS)):
            workers.start_soon(_work_off, serial)


async def _work_off(*queues: _Queue) -> None:
    """Make one attempt after the other until the queues, which other workers empty too, are empty."""
    for queue in queues:
        while queue and not queue[0][0].is_silent:
            execution, check = queue.popleft()
            await execution.attempt(check)


def _longest_first(check: Check) -> tuple[int, float, str]:
    place = LONGEST.index(check.id) if check.id in LONGEST else len(LONGEST)
    return (place, -check.timeout, check.id)


def interrupted_status(name: str) -> int:
    """The exit status of a command that the signal of this name interrupted, as a shell reports it."""
    return 128 + signal.Signals[name]


class Interruption:
    """The signal that cancelled a run, if one did."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope
        self.signal: signal.Signals | None = None

    def by(self, number: signal.Signals) -> None:
        """Cancel the run; the first signal counts."""
        self.signal = self.signal or number
        self._scope.cancel()


@asynccontextmanager
async def signals_cancel() -> AsyncIterator[Interruption]:
    """Cancel the body on the first SIGINT or SIGTERM and ignore further ones, because teardown is bounded."""
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            interruption = Interruption(scope)
            await tasks.start(_watch_signals, interruption)
            yield interruption
        tasks.cancel_scope.cancel()


async def _watch_signals(interruption: Interruption, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    # The event loop has no signal handlers on Windows; Ctrl-C arrives as KeyboardInterrupt there.
    if sys.platform == "win32":
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            interruption.by(number)
