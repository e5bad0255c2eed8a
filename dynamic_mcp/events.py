"""Events for the operator, such as the start of a server, the renewal of a token, or a reload of the configuration.

The code that causes an event records it. The hooks decide what happens with it; by default nothing does.
"""

from __future__ import annotations

from collections.abc import Callable

#: Takes the name of an event, and its details by keyword. Common details are ``server`` (a name), ``outcome`` (a word, "ok" by
#: default) and ``began`` (monotonic time in seconds). Details that are None are left out.
Record = Callable[..., None]


def discard(event: str, **details: object) -> None:
    """Drop the event."""
