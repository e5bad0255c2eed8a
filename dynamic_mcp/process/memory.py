"""Freed memory is kept for the next large message.

glibc gives the pages of a large block back to the system when it is freed, and with each message they are made again: more than half the
time of a result of a megabyte. Its own limits rise to those that are set here, but only with a message of 32 MiB. Elsewhere
nothing happens.
"""

from __future__ import annotations

import contextlib
import sys

#: Bytes: larger blocks are still given back at once, and what is free at the end of the heap when it is more than this.
LARGEST_KEPT = 32 << 20
MOST_KEPT = 64 << 20

# mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed() -> None:
    """Have the C library do so, where it is glibc."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, MOST_KEPT)
        library.mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)
