"""Longer deadlines while a person works with a debugger.

Only a wait that ends in a violation becomes longer. A wait that proves that nothing happens, a measured duration and the teardown stay as
they are. The requirement fixes their times, or they keep the run bounded.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: seconds for each wait while a person debugs
AN_HOUR = 3600.0

_minimum: ContextVar[float] = ContextVar("minimum", default=0.0)


@contextmanager
def extended_deadlines() -> Iterator[None]:
    """Inside the block, and in every task that starts in it, each wait may take an hour."""
    before = _minimum.set(AN_HOUR)
    try:
        yield
    finally:
        _minimum.reset(before)


def extended(within: float) -> float:
    """The seconds to wait when a check asks for `within`."""
    return max(within, _minimum.get())
