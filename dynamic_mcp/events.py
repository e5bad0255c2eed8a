"""Events that an operator may want to keep: a server that started, a token that was renewed, a configuration that was reloaded.

The code that causes an event records it. What becomes of the event is decided elsewhere (``hooks``); the default is nothing.
"""

from __future__ import annotations

from collections.abc import Callable

#: Takes the name of an event, and its details by name. Some mean the same in every event: ``server`` is the name of a server, ``outcome``
#: a word ("ok" by default), ``began`` the monotonic time in seconds at which it began. A detail that is None is left out.
Record = Callable[..., None]


def discard(event: str, **details: object) -> None:
    """Drop the event."""
