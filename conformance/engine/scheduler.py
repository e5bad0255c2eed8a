"""Many checks at once: who runs beside whom, and what ends them all.

The lanes hold for the work of several implementations as for that of one. Limits: a check that blocks the event loop holds up all.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from conformance.checks import Check
    from conformance.engine.runner import Execution


async def in_lanes(work: Sequence[tuple[Execution, Check]], jobs: int) -> None:
    """Attempt every check, the longest first: `jobs` quick ones at a time and as many slow ones beside them, which mostly wait, and twice
    as many of those when no quick one is left (`jobs=1`: one at all). Then each serial one alone; then, also alone, a second time what
    was red and not expected.
    """
    parallel = sorted((one for one in work if not one[1].serial), key=lambda one: _longest_first(one[1]))
    slow, others = (deque(one for one in parallel if one[1].slow is is_slow) for is_slow in (True, False))
    async with anyio.create_task_group() as lanes:
        if jobs == 1:
            lanes.start_soon(_lane, slow, others)
        else:
            for _ in range(jobs):
                lanes.start_soon(_lane, slow)
                lanes.start_soon(_lane, others, slow)
    for execution, check in work:
        if check.serial:
            await execution.attempt(check)
    for execution, check in work:
        if execution.wants_again(check):
            await execution.attempt(check)


async def _lane(*queues: deque[tuple[Execution, Check]]) -> None:
    """One attempt after the other, until nothing is left that no other lane has taken."""
    for queue in queues:
        while queue:
            execution, check = queue.popleft()
            await execution.attempt(check)


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
