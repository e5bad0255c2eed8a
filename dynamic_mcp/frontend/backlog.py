"""What waits for the clients of one proxy, and which connection has to end for it.

A client may read slowly, and a single answer may be larger than what should wait. So a client loses its connection when it takes nothing
for ``STUCK_AFTER`` seconds while much waits. ``MAX_WAITING`` bounds the memory, even if every client reads a little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

#: Bytes that may wait for a client that takes none of them, and for all such clients.
MAX_UNREAD = 16 << 20
MAX_UNREAD_OF_ALL = 64 << 20
#: Seconds after which a client counts as one that takes nothing.
STUCK_AFTER = 60.0
#: Bytes that may wait for all clients, whether they read or not.
MAX_WAITING = 512 << 20

_STUCK = f"has taken nothing for {STUCK_AFTER:g} s, while {{}} MiB wait for it"
_TOO_MUCH = f"has most of the {MAX_WAITING >> 20} MiB that wait for all clients ({{}} MiB)"


class Outlet(Protocol):
    """The way to one client."""

    def unread(self) -> int:
        """Bytes that wait for the client; 0 after ``cut``."""
        ...

    def stuck(self) -> int:
        """Those of them that wait where the client has taken nothing for ``STUCK_AFTER`` seconds."""
        ...

    def cut(self, reason: str) -> None:
        """End the connection. The client ``reason``, for example "does not read"."""
        ...


class Backlog:
    """Watches the outlets while much waits."""

    def __init__(self, outlets: Callable[[], Iterable[Outlet]]) -> None:
        self._outlets = outlets
        #: runs while too much would wait, if no client took any of it
        self._timer: asyncio.TimerHandle | None = None

    def grew(self) -> None:
        """Note that more waits for a client."""
        self._bound(lambda outlet: outlet.unread(), MAX_WAITING, _TOO_MUCH)
        if self._timer is None and self._is_much():
            self._timer = asyncio.get_running_loop().call_later(STUCK_AFTER / 10, self._look)

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Cut the outlets that are stuck."""
        self._timer = None
        for outlet in list(self._outlets()):
            if (stuck := outlet.stuck()) > MAX_UNREAD:
                outlet.cut(_STUCK.format(stuck >> 20))
        self._bound(lambda outlet: outlet.stuck(), MAX_UNREAD_OF_ALL, _STUCK)
        self.grew()

    def _bound(self, size: Callable[[Outlet], int], bound: int, reason: str) -> None:
        """Cut the largest outlets until all together are within a bound."""
        sizes = [(size(outlet), outlet) for outlet in self._outlets()]
        total = sum(one for one, _ in sizes)
        if total <= bound:
            return
        for one, outlet in sorted(sizes, key=lambda pair: pair[0], reverse=True):
            if total <= bound:
                return
            outlet.cut(reason.format(one >> 20))
            total -= one

    def _is_much(self) -> bool:
        unread = [outlet.unread() for outlet in self._outlets()]
        return max(unread, default=0) > MAX_UNREAD or sum(unread) > MAX_UNREAD_OF_ALL
