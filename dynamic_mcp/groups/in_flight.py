"""The requests of one group that have no answer yet."""

from __future__ import annotations

import anyio


class InFlight:
    """Counts the requests. Each one enters it as a context manager; a generator would cost every call more."""

    def __init__(self) -> None:
        self._waiting = 0
        #: all requests so far
        self.total = 0
        self._idle = anyio.Event()

    def __enter__(self) -> None:
        self._waiting += 1
        self.total += 1

    def __exit__(self, *exception: object) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._idle.set()

    def count(self) -> None:
        """Count a second request to the upstream, which belongs to one that has no answer yet."""
        self.total += 1

    async def none_left(self) -> None:
        """Wait until every request has its answer."""
        while self._waiting:
            self._idle = anyio.Event()
            await self._idle.wait()
