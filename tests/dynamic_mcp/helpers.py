"""Waits with a deadline, and a check whether a process is alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

#: Seconds that only a fault exceeds, also on a busy machine.
WITHIN = 60.0

_T = TypeVar("_T")


async def eventually(condition: Callable[[], _T], what: str, within: float = WITHIN) -> _T:
    """Wait until the condition is true, at most `within` seconds; its value."""
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {within} s: {what}"
        await asyncio.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
