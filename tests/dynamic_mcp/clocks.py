"""Clocks that tests move, so that no test waits for a long time to pass."""

from __future__ import annotations

import asyncio

#: Rounds of the loop in which ready tasks and due timers run, and the tasks that they wake.
_ROUNDS = 10


class ManualClock:
    """A clock for a parameter of type ``Clock``."""

    def __init__(self) -> None:
        self._now = 1000.0

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now += seconds


async def skip(seconds: float) -> None:
    """Move the clock of the running loop, after tasks that are ready have begun to wait. All timers due by then fire.

    It also moves deadlines that a test sets for itself, so these must be longer or begin later.
    """
    await _let_run()
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
    await _let_run()


async def _let_run() -> None:
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
