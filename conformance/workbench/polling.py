"""Waits for a condition with a deadline, and describes the last value in its message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from conformance.errors import Violation
from conformance.workbench.deadlines import extended
from conformance.workbench.shown import show
from conformance.workbench.waits import waiting_for

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INTERVAL = 0.02


async def eventually(
    condition: Callable[[], T], *, within: float, what: str, seen: Callable[[], Any] | None = None
) -> T:
    """Poll the condition until it is true and return its value.

    After `within` seconds raises `Violation` with `what` and `seen`, by default the last value.
    """
    deadline = time.monotonic() + extended(within)
    while not (value := condition()):
        if time.monotonic() >= deadline:
            last = "not so" if value is False else show(value or "nothing")
            if seen is not None:
                last = show(seen())
            raise Violation(what, f"after {within:g} s: {last}", timed=True)
        with waiting_for(what):
            await anyio.sleep(INTERVAL)
    return value
