"""Watches a file: ``os.stat`` decides whether it changed, and events of the file system say when to look.

``os.stat`` follows every symbolic link in the path. So a look sees a write in place, a rename, a deleted file and a new one. It also
sees a swapped link in any directory of the path, as in mounted volumes of Kubernetes. Linux has the events (``config.file_events``).
Without them, the proxy looks ten times a second. With them, it looks every ``SLOW_LOOK`` seconds, because some file systems have none.
docs/performance.md compares the libraries for events.

A file system that does not answer blocks the whole proxy.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from dynamic_mcp.log import log

if TYPE_CHECKING:
    from dynamic_mcp.config.file_events import FileEvents

#: Seconds between two looks at an unchanged file with events, without them, and at a file that is changing.
SLOW_LOOK = 5.0
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
        self._is_forced = False
        #: whether an event came since the last pause
        self._is_touched = False
        self._woken = anyio.Event()
        # Different from any state, so that a change before the first look counts.
        self._known: object = None
        self._second_look = float("inf")
        #: None until the first second look, so that the library does not delay the start
        self._events: FileEvents | None = None

    def force(self) -> None:
        """Let ``changed`` return at once."""
        self._is_forced = True
        self._woken.set()

    def close(self) -> None:
        """Receive no more events."""
        if self._events is not None:
            self._events.close()
            self._events = None

    async def changed(self) -> bool:
        """Wait until the file may have changed and rests; true after ``force``. The first call returns soon."""
        while not self._is_forced:
            self._follow()
            if (state := _state_of(self._path)) != self._known:
                self._known = await self._rest(state)
                self._second_look = time.monotonic() + SECOND_LOOK
                return False
            if time.monotonic() >= self._second_look:
                self._second_look = float("inf")
                self._begin_events()
                return False
            await self._pause()
        self._is_forced = False
        return True

    def _begin_events(self) -> None:
        if self._events is None and sys.platform == "linux":
            from dynamic_mcp.config.file_events import FileEvents

            try:
                self._events = FileEvents(self._path, self._touch)
            except OSError as error:
                log.debug("the configuration is watched without events: %s", error.strerror)

    def _follow(self) -> None:
        """Follow the path before a look, so that a later change is an event. Without that, the next looks come soon."""
        if self._events is not None:
            try:
                self._events.follow()
            except OSError as error:
                log.debug("the configuration is watched without events: %s", error.strerror)
                self.close()

    def _touch(self) -> None:
        self._is_touched = True
        self._woken.set()

    async def _pause(self) -> None:
        """Wait until the next look is due."""
        interval = POLL_INTERVAL
        if self._events is not None and not self._is_touched:
            self._events.listen()
            interval = SLOW_LOOK
        # After an event for nothing, events do not count for a moment: a busy folder wakes the proxy no more often than polls do.
        self._is_touched = False
        self._woken = anyio.Event()
        with anyio.move_on_after(min(interval, self._second_look - time.monotonic())):
            await self._woken.wait()

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
