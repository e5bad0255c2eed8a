"""Starts take turns: a few children start at a time, first those that a client waits for.

Many servers that start at once share the processors, so that all become usable as late as the last one. With turns, the first ones are
usable early. A turn ends with the start. A child that uses no processor time for ``SAMPLE`` seconds loses its turn and goes on. It
waits for something else, such as a download. So children that hang delay no other start for long.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from dynamic_mcp.process.activity import processor_seconds

#: Seconds between two looks at the children that hold a turn, while others wait.
SAMPLE = 0.25
#: Seconds after which a turn ends in any case, and without ``/proc`` to look at.
MAX_TURN = 10.0
MAX_BLIND_TURN = 1.0
#: Turns beyond the number of processors, because a start also waits for the disk.
EXTRA = 2


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Turn:
    """One start, before or after its turn began."""

    def __init__(self, is_wanted: Callable[[], bool], group: Callable[[], int | None]) -> None:
        self.is_wanted = is_wanted
        self.group = group
        self.granted = anyio.Event()
        self.began = 0.0
        #: the processor time at the last look; None before the first one
        self.used: float | None = None


class StartTurns:
    """The turns of one proxy."""

    def __init__(self, size: int | None = None) -> None:
        """``size`` is the number of turns at a time, by default a few more than processors."""
        self._size = size or _processors() + EXTRA
        self._holders: list[_Turn] = []
        self._queue: list[_Turn] = []
        #: the next look at the holders, while starts wait
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(
        self, is_wanted: Callable[[], bool], group: Callable[[], int | None]
    ) -> AsyncIterator[None]:
        """Hold a turn, after waiting for it.

        ``is_wanted`` says whether a client waits for this start. ``group`` is the process group of the child, None while none runs.
        """
        turn = _Turn(is_wanted, group)
        self._queue.append(turn)
        self._grant()
        try:
            self._schedule()
            await turn.granted.wait()
            yield
        finally:
            for turns in (self._queue, self._holders):
                if turn in turns:
                    turns.remove(turn)
            self._grant()
            self._schedule()

    def _grant(self) -> None:
        """Begin the turns that are free."""
        while self._queue and len(self._holders) < self._size:
            turn = next((turn for turn in self._queue if turn.is_wanted()), self._queue[0])
            self._queue.remove(turn)
            self._holders.append(turn)
            turn.began = time.monotonic()
            turn.granted.set()

    def _schedule(self) -> None:
        """Look at the holders in a while, if starts wait. One timer for all: two hundred starts would otherwise wake for each other."""
        if self._queue and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SAMPLE, self._look)
        elif not self._queue and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._take_back()
        self._schedule()

    def _take_back(self) -> None:
        """End the turns of children that wait for something else than a processor."""
        now = time.monotonic()
        groups = {group: turn for turn in self._holders if (group := turn.group()) is not None}
        used = processor_seconds(groups)
        for group, turn in groups.items():
            seconds = None if used is None else used[group]
            longest = MAX_BLIND_TURN if seconds is None else MAX_TURN
            if (seconds is not None and seconds == turn.used) or now >= turn.began + longest:
                self._holders.remove(turn)
            turn.used = seconds
        self._grant()
