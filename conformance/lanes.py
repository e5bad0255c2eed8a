"""Many checks at once: who runs beside whom, and what ends them all.

The lanes hold for the work of several implementations as for that of one. Limits: a check that blocks the event loop holds up all.
"""

from __future__ import annotations

import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from conformance.checks import Check
    from conformance.runner import Execution


async def in_lanes(work: Sequence[tuple[Execution, Check]], jobs: int) -> None:
    """Attempt every check: `jobs` at a time and as many slow ones beside them, which mostly wait (`jobs=1`: one at all), the longest
    first; then each serial one alone; then, also alone, a second time what was red and not expected.
    """
    parallel = sorted((one for one in work if not one[1].serial), key=lambda one: _longest_first(one[1]))
    slow, others = ([one for one in parallel if one[1].slow is is_slow] for is_slow in (True, False))
    if jobs == 1:
        await _side_by_side([*slow, *others], jobs)
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_side_by_side, slow, jobs)
            tasks.start_soon(_side_by_side, others, jobs)
    for execution, check in work:
        if check.serial:
            await execution.attempt(check)
    for execution, check in work:
        if execution.wants_again(check):
            await execution.attempt(check)


async def _side_by_side(work: Sequence[tuple[Execution, Check]], jobs: int) -> None:
    limiter = anyio.CapacityLimiter(jobs)

    async def attempt(execution: Execution, check: Check, place: object) -> None:
        try:
            await execution.attempt(check)
        finally:
            limiter.release_on_behalf_of(place)

    async with anyio.create_task_group() as tasks:
        for execution, check in work:
            # Acquired here and not in the task, so that the checks start in exactly this order.
            place = object()
            await limiter.acquire_on_behalf_of(place)
            tasks.start_soon(attempt, execution, check, place)


def _longest_first(check: Check) -> tuple[float, str]:
    return (-check.timeout, check.id)


@asynccontextmanager
async def signals_cancel() -> AsyncIterator[anyio.CancelScope]:
    """Cancel the body on the first SIGINT or SIGTERM; further ones change nothing: teardown is bounded."""
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            await tasks.start(_watch_signals, scope)
            yield scope
        tasks.cancel_scope.cancel()


async def _watch_signals(scope: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    # The event loop has no signal handlers on Windows; Ctrl-C arrives as KeyboardInterrupt there.
    if sys.platform == "win32":
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
