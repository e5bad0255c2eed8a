"""When a file may have changed: found by looking, because that misses nothing.

``os.stat`` follows every symbolic link on the way, so one look sees a write in place, a rename, a link that was swapped in any
directory of the path (as Kubernetes does for mounted volumes), a file that is gone and one that is back, on every file system, events
or not. Ten looks a second cost 0.2 % of a core. ``watchfiles`` was measured beside it: by default it looks 20 times a second for
what its events brought, needs two threads (children are forked, ``process.guard``) and 35 ms to import, and is no sooner.

Limit: a file system that does not answer keeps the whole proxy waiting.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio

#: Seconds between two looks at a file that rests, and at one that is being written.
LOOK = 0.1
LOOK_CLOSELY = 0.025
#: Seconds without a change after which a save counts as finished, and the most that a busy writer delays that.
QUIET = 0.1
MAX_DELAY = 2.0
#: Seconds to a second look at the content: coarse clocks (FAT, NFS) do not show every write.
SECOND_LOOK = 2.5


class Watch:
    """One file that may be replaced, deleted and created again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forced = anyio.Event()
        # Unlike any state, so that a change before the first look counts.
        self._known: object = None
        self._second_look = float("inf")

    def force(self) -> None:
        """Let ``changed`` return at once."""
        self._forced.set()

    async def changed(self) -> bool:
        """Wait until the file may have changed, and rests; true where ``force`` said so. The first call does not wait long."""
        while not self._forced.is_set():
            if (state := _state_of(self._path)) != self._known:
                self._known = await self._rest(state)
                self._second_look = time.monotonic() + SECOND_LOOK
                return False
            if time.monotonic() >= self._second_look:
                self._second_look = float("inf")
                return False
            with anyio.move_on_after(LOOK):
                await self._forced.wait()
        self._forced = anyio.Event()
        return True

    async def _rest(self, state: object) -> object:
        """Wait until nothing has changed for a moment; the state that it has then."""
        since = time.monotonic()
        end = since + MAX_DELAY
        while time.monotonic() < min(since + QUIET, end):
            await anyio.sleep(LOOK_CLOSELY)
            if (now := _state_of(self._path)) != state:
                state, since = now, time.monotonic()
        return state


def _state_of(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
