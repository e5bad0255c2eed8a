"""Events of the file system for one path: each says only that another look can find a change.

Linux reports a change at once, without polling (inotify(7)). A network file system does not report what another machine wrote, and no
file system reports writes to mapped memory. So the caller also has to look from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags

from dynamic_mcp.config.path_places import PathPlaces, places_of

_GONE = flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
_ENTRIES = _GONE | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
# The file itself, so that writes to its neighbours wake nothing, and a write through another hard link does.
_FILE = flags.MODIFY | flags.ATTRIB | flags.DELETE_SELF | flags.MOVE_SELF
#: Attempts to follow a way that changes meanwhile.
_ATTEMPTS = 3
_CHUNK = 1 << 16
#: in place of the watch descriptor of a place that is gone
_NONE = -1


class FileEvents:
    """The events of one path, until ``close``. Raises OSError if the system gives none, for example because of a limit."""

    def __init__(self, path: Path, on_event: Callable[[], None]) -> None:
        """``on_event`` is called at most once after each ``listen``."""
        self._path = path
        self._on_event = on_event
        #: the watch descriptors of the places
        self._watched: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._notify = INotify(nonblocking=True)

    def follow(self) -> None:
        """Watch the places that the path leads through now. Forgets the events so far.

        Raises OSError if the system refuses a place that matters.
        """
        with contextlib.suppress(BlockingIOError):
            os.read(self._notify.fileno(), _CHUNK)
        way = places_of(self._path)
        for _ in range(_ATTEMPTS):
            self._watch(way)
            # The way may have changed before the system watched it.
            before, way = way, places_of(self._path)
            if way == before:
                return

    def listen(self) -> None:
        """Call ``on_event`` at the first event since ``follow``."""
        self._loop.add_reader(self._notify.fileno(), self._pass_on)

    def close(self) -> None:
        """Receive no more events."""
        self._loop.remove_reader(self._notify.fileno())
        self._notify.close()

    def _pass_on(self) -> None:
        self._loop.remove_reader(self._notify.fileno())
        self._on_event()

    def _watch(self, way: PathPlaces) -> None:
        watched = set()
        for folder in way.folders:
            # A folder that this user cannot read has no events; a later look finds out that it was renamed.
            with contextlib.suppress(PermissionError):
                watched.add(self._add(folder, _GONE))
        for folder in way.entries:
            watched.add(self._add(folder, _ENTRIES))
        if way.file is not None:
            watched.add(self._add(way.file, _FILE))
        for descriptor in self._watched - watched:
            # The system itself removes the watch of a deleted file.
            with contextlib.suppress(OSError):
                self._notify.rm_watch(descriptor)
        self._watched = watched - {_NONE}

    def _add(self, place: str, mask: int) -> int:
        try:
            return int(self._notify.add_watch(place, mask))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                # It has just changed, and ``follow`` looks again.
                return _NONE
            raise
