"""Waiting for something to become true, with a deadline and a last look for the message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from conformance.errors import Violation
from conformance.workbench.deadlines import prolonged
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INTERVAL = 0.02


async def eventually(
    condition: Callable[[], T], *, within: float, what: str, seen: Callable[[], Any] | None = None
) -> T:
    """Ask until the answer is true and return it; after `within` seconds raise `Violation` with `what`, and what was `seen`:
    the last answer, where that says enough.
    """
    deadline = time.monotonic() + prolonged(within)
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise Violation(what, f"after {within:g} s: {show(value if seen is None else seen())}")
        await anyio.sleep(INTERVAL)
    return value


def show(seen: Any) -> str:
    """Something seen, as text of bounded length."""
    return shorten(seen if isinstance(seen, str) else repr(seen), 2000)
