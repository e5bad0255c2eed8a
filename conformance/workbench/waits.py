"""What a check waits for, so that a check without an end can say where it was.

    with recorded_waits() as interrupted:
        with anyio.move_on_after(5):
            with waiting_for("an answer to ping"):
                await ...
    # `interrupted` has "an answer to ping" if the deadline ended the wait.

The tasks of the block record into the same list. Limit: a wait outside of `waiting_for`, such as a pause of the check, is not recorded.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

_interrupted: ContextVar[list[str] | None] = ContextVar("_interrupted", default=None)


@contextmanager
def recorded_waits() -> Iterator[list[str]]:
    """The waits inside the block that a cancellation ended, the innermost first. A wait that ended in another way is not in it."""
    found: list[str] = []
    token = _interrupted.set(found)
    try:
        yield found
    finally:
        _interrupted.reset(token)


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Name the wait inside the block; `what` completes "it waited for"."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        found = _interrupted.get()
        if found is not None and what not in found:
            found.append(what)
        raise
