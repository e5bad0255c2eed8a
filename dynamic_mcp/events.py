"""Events that an operator may want to keep: a server that started, a token that was renewed, a configuration that was reloaded.

The code that causes an event records it through ``Record``. What becomes of it is decided elsewhere (``hooks``); the default is nothing.
"""

from __future__ import annotations

from typing import Protocol


class Record(Protocol):
    """Takes one event."""

    def __call__(
        self,
        event: str,
        *,
        server: str | None = None,
        outcome: str = "ok",
        began: float | None = None,
        **details: object,
    ) -> None:
        """``began`` is the monotonic time in seconds at which it began; None for an event without a duration."""
        ...


def discard(
    event: str,
    *,
    server: str | None = None,
    outcome: str = "ok",
    began: float | None = None,
    **details: object,
) -> None:
    """Drop the event."""
