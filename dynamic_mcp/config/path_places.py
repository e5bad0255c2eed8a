"""The places in the file system that decide which file a path leads to.

Symbolic links count wherever they are on the way: the last component, a folder, or a link that leads to another link.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

#: Links that Linux follows in one path (path_resolution(7)).
_MAX_LINKS = 40


class PathPlaces(NamedTuple):
    """The places on the way of a path, without links in their own paths."""

    #: folders whose entry on the way is a link, the file, or missing: a new entry changes what the path leads to
    entries: frozenset[str]
    #: folders that a rename or a deletion can take off the way
    folders: frozenset[str]
    #: the file; None if it is missing
    file: str | None


def places_of(path: Path) -> PathPlaces:
    """The way of a path. It ends at the first missing component, and at one that this user cannot look into."""
    entries: set[str] = set()
    folders: set[str] = set()
    here = "/"
    # The next component is the last of the list.
    pending = [*reversed(os.path.join(os.getcwd(), path).split("/"))]
    links = 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        folders.add(here)
        if name == "..":
            here = os.path.dirname(here)
            continue
        entry = os.path.join(here, name)
        target = _link(entry)
        if target is not None and links < _MAX_LINKS:
            links += 1
            entries.add(here)
            pending += reversed(target.split("/"))
            here = "/" if target.startswith("/") else here
        elif any(pending) and os.path.isdir(entry):
            here = entry
        else:
            entries.add(here)
            is_file = not any(pending) and os.path.exists(entry)
            return PathPlaces(frozenset(entries), frozenset(folders - entries), entry if is_file else None)
    return PathPlaces(frozenset(entries), frozenset(folders - entries), None)


def _link(entry: str) -> str | None:
    """The target of a symbolic link; None for anything else."""
    try:
        return os.readlink(entry)
    except OSError:
        return None
