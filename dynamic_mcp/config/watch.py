"""Watches a file by polling, because polling misses no change.

``os.stat`` follows every symbolic link in the path. So one poll sees a write in place, a rename, a swapped link in any directory of
the path (as in mounted volumes of Kubernetes), a deleted file and a new one, on every file system. Ten polls a second take 0.2 % of a
core. ``watchfiles`` is not faster: it polls 20 times a second, needs two threads (but ``process.guard`` forks) and 35 ms to import.

A file system that does not answer blocks the whole proxy.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

#: Seconds between two polls of an unchanged file, and of a file that is changing.
POLL_INTERVAL = 0.1
FAST_POLL_INTERVAL = 0.025
#: Seconds without a change after which a save counts as finished, and the longest time to wait for that.
QUIET = 0.1
MAX_DELAY = 2.0
#: Seconds before a second look at the content, because the coarse time stamps of FAT and NFS do not show every write.
SECOND_LOOK = 2.5


class Watch:
    """One file that may be replaced, deleted and created again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forced = anyio.Event()
        # Different from any state, so that a change before the first poll counts.
        self._known: object = None
        self._second_look = float("inf")

    def force(self) -> None:
        """Let ``changed`` return at once."""
        self._forced.set()

    async def changed(self) -> bool:
        """Wait until the file may have changed and rests; true after ``force``. The first call returns soon."""
        while not self._forced.is_set():
            if (state := _state_of(self._path)) != self._known:
                self._known = await self._rest(state)
                self._second_look = time.monotonic() + SECOND_LOOK
                return False
            if time.monotonic() >= self._second_look:
                self._second_look = float("inf")
                return False
            with anyio.move_on_after(POLL_INTERVAL):
                await self._forced.wait()
        self._forced = anyio.Event()
        return True

    async def _rest(self, state: object) -> object:
        """Wait until the file has not changed for ``QUIET`` seconds; its state then."""
        since = time.monotonic()
        end = since + MAX_DELAY
        while time.monotonic() < min(since + QUIET, end):
            await anyio.sleep(FAST_POLL_INTERVAL)
            if (now := _state_of(self._path)) != state:
                state, since = now, time.monotonic()
        return state


def _state_of(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
