"""Tuning of the allocator and the garbage collector.

glibc returns the pages of a large block to the system when the block is freed, and each message needs them again. That takes more than
half of the time of a result of a megabyte. The thresholds of glibc grow to the values here only after a message of 32 MiB.

Python collects cycles after 700 new objects (2,000 from Python 3.13 on), so every few calls, and sometimes scans all imported modules. The
calls make no cycles.
"""

from __future__ import annotations

import contextlib
import gc
import sys

#: Bytes: glibc returns larger blocks at once, and the free end of the heap if it exceeds the second value.
MMAP_THRESHOLD = 32 << 20
TRIM_THRESHOLD = 64 << 20
#: New objects after which Python collects cycles.
GC_THRESHOLD = 10_000

# mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def prepare() -> None:
    """Set all thresholds. Call this after all imports."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    if sys.platform == "linux":
        import ctypes

        # In other C libraries than glibc this function is missing or does nothing.
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD)
            library.mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD)
