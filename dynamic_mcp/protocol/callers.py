"""The calls to which a request of the other side can belong.

A transport that has a stream for each request knows the call. On stdio nothing links the two (MCP 2025-11-25, basic/transports), so every
call in flight is possible. A cancelled or late call is possible too for ``AFTERMATH`` seconds, because the other side may still work on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dynamic_mcp.protocol.pending import CALLS, ClientCall, Pending

#: Seconds in which a call without an answer may still lead to a request of the other side.
AFTERMATH = 30.0
#: Calls without an answer that count; the oldest one goes first.
MAX_ABANDONED = 1024


class Callers:
    """The callers of the requests of one connection. A request without a caller does not count."""

    def __init__(self, pending: Mapping[int, Pending]) -> None:
        self._pending = pending
        self._loop = asyncio.get_running_loop()
        #: by id: the end of the aftermath, and the caller; later only the id, because an answer may still come
        self._abandoned: dict[int, tuple[float, ClientCall | None]] = {}
        self._timer: asyncio.Handle | None = None

    def of(self, within: int | None) -> tuple[ClientCall, ...]:
        """The caller of the request ``within`` which the other side asks; without it, all that are possible, the oldest first."""
        now = self._loop.time()
        if within is not None:
            if (known := self._pending.get(within)) is not None:
                caller = known.caller
            else:
                end, late = self._abandoned.get(within, (now, None))
                caller = late if end > now else None
            return () if caller is None else (caller,)
        callers = [caller for end, caller in self._abandoned.values() if end > now]
        callers += [pending.caller for pending in self._pending.values() if pending.method in CALLS]
        return tuple(caller for caller in callers if caller is not None)

    def abandoned(self, id: int, pending: Pending) -> None:
        """Note that a request ended without an answer."""
        if pending.caller is not None and pending.method in CALLS:
            self._abandoned[id] = self._loop.time() + AFTERMATH, pending.caller
            if len(self._abandoned) > MAX_ABANDONED:
                del self._abandoned[next(iter(self._abandoned))]
            if self._timer is None:
                self._timer = self._loop.call_later(AFTERMATH, self._release)

    def answered(self, id: int | None) -> bool:
        """Note that an answer came, so that nothing else follows; whether it is the late answer of a call."""
        return id is not None and self._abandoned.pop(id, None) is not None

    def _release(self) -> None:
        """Release the callers whose aftermath is over. Each one may have megabytes of arguments."""
        now, self._timer = self._loop.time(), None
        for id, (end, _) in self._abandoned.items():
            if end > now:
                self._timer = self._loop.call_at(end, self._release)
                return
            self._abandoned[id] = end, None
