"""Memory that is at hand, and not looked through again and again.

glibc gives the pages of a large block back to the system when it is freed, and with each message they are made again: more than half the
time of a result of a megabyte. Its own limits rise to those that are set here, but only with a message of 32 MiB.

Python looks for cycles after every 700 new objects, which is every few calls, and at times through all that was ever imported. Nothing on
the way of a call needs that.
"""

from __future__ import annotations

import contextlib
import gc
import sys

#: Bytes: larger blocks are still given back at once, and what is free at the end of the heap when it is more than this.
MAX_KEPT_BLOCK = 32 << 20
MAX_KEPT = 64 << 20
#: New objects after which cycles are looked for.
OBJECTS = 10_000

# mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare() -> None:
    """Set this up; once everything is imported."""
    gc.freeze()
    gc.set_threshold(OBJECTS)
    if sys.platform == "linux":
        import ctypes

        # Another C library than glibc has no such function, or one that does nothing.
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_M_TRIM_THRESHOLD, MAX_KEPT)
            library.mallopt(_M_MMAP_THRESHOLD, MAX_KEPT_BLOCK)
