"""Runs several steps at once, and raises what a single one would."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

_T = TypeVar("_T")


async def at_once(steps: Iterable[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """The results of all steps, in order. Raises the exception of the first step that fails, and ends the others."""
    results: dict[int, _T] = {}

    async def run(place: int, step: Callable[[], Awaitable[_T]]) -> None:
        results[place] = await step()

    try:
        async with anyio.create_task_group() as tasks:
            for place, step in enumerate(steps):
                tasks.start_soon(run, place, step)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [results[place] for place in sorted(results)]
