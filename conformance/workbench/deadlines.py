"""How long is waited for something that should happen, when a person at a debugger may be what delays it.

Only waits that end in a violation are prolonged. One that proves that nothing happens, a measured duration, and
the teardown stay as they are: their times are what the requirement says, or they keep a run bounded.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: seconds for each wait while a person is at work
AN_HOUR = 3600.0

_least: ContextVar[float] = ContextVar("least", default=0.0)


@contextmanager
def unhurried() -> Iterator[None]:
    """Inside, and in every task that begins inside, each wait may take an hour."""
    before = _least.set(AN_HOUR)
    try:
        yield
    finally:
        _least.reset(before)


def prolonged(within: float) -> float:
    """The seconds to wait where a check asks for `within`."""
    return max(within, _least.get())
