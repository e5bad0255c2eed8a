"""The tasks of one owner, which also ends them.

A task set replaces a task group for an owner without an ``async with``: after ``close`` returned, no task is left. It is also faster. A
start takes 1.3 µs here, 2.2 µs in an ``asyncio.TaskGroup`` and 17 µs in a task group of anyio, while the whole logic of a call takes
13 µs. Work that does not start with each request uses a task group of anyio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

import anyio


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
