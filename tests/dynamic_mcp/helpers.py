"""Waits with a deadline, and a check whether a process is alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

WITHIN = 10.0

_T = TypeVar("_T")


async def eventually(condition: Callable[[], _T], what: str) -> _T:
    """Wait until the condition is true; its value."""
    end = time.monotonic() + WITHIN
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {WITHIN} s: {what}"
        await asyncio.sleep(0.005)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
