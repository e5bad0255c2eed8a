"""The tasks of one owner, which also ends them, and long work in slices.

A task set replaces a task group for an owner without an ``async with``: after ``close`` returned, no task is left. It is also faster. A
start takes 1.3 µs here, 2.2 µs in an ``asyncio.TaskGroup`` and 17 µs in a task group of anyio. The whole logic of a call takes 13 µs.
Work that does not start with each request uses a task group of anyio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

import anyio

_T = TypeVar("_T")

#: Seconds of work after which other tasks get their turn.
_SLICE = 0.005


class TaskSet:
    """Starts and ends tasks. A task has to handle its own exceptions."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> asyncio.Task[None]:
        """Start work in a new task, in ``context`` if given."""
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Cancel every task."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Cancel every task, and wait for its end. Not cancellable."""
        with anyio.CancelScope(shield=True):
            self.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def joined(work: asyncio.Future[_T], cancelled: Exception) -> _T:
    """The result of work that several callers wait for. The cancellation of a caller does not end it.

    If the work itself was cancelled, raises ``cancelled``. A ``CancelledError`` would look like a cancellation of the caller.
    """
    await asyncio.wait([work])
    if work.cancelled():
        raise cancelled
    return work.result()


class Slices:
    """Cuts the work of one task into slices, so that a list of a hundred thousand entries does not delay other tasks."""

    def __init__(self) -> None:
        self._end = time.monotonic() + _SLICE

    async def rest(self) -> None:
        """Let other tasks run, if the current slice is over. Call this after each small piece of work."""
        if time.monotonic() >= self._end:
            await asyncio.sleep(0)
            self._end = time.monotonic() + _SLICE
