"""The requests of one group that have no answer yet."""

from __future__ import annotations

import anyio


class InFlight:
    """Counts the requests. Each one enters it as a context manager; a generator would cost every call more."""

    def __init__(self) -> None:
        self._count = 0
        #: all requests so far
        self.total = 0
        self._idle = anyio.Event()

    def __enter__(self) -> None:
        self._count += 1
        self.total += 1

    def __exit__(self, *exception: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def none_left(self) -> None:
        """Wait until every request has its answer."""
        while self._count:
            self._idle = anyio.Event()
            await self._idle.wait()
