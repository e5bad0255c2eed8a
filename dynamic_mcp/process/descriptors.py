"""The soft limit of open files: the proxy raises its own, and its children get the old one.

Each server needs a few descriptors, and programs with a window on macOS start with a limit of 256. The children keep the limit of the
user, because a program that uses ``select`` fails beyond 1,024 descriptors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

#: Descriptors for about two thousand servers. macOS refuses more than 10,240.
ENOUGH = 8192

if sys.platform == "win32":

    def raise_limit() -> None:
        """Windows has no such limit."""

    def restorer() -> Callable[[], None] | None:
        """Windows has no such limit."""
        return None

else:
    import resource

    _original: tuple[int, int] | None = None

    def raise_limit() -> None:
        """Raise the soft limit of this process to ``ENOUGH``, or to the hard limit. A second call does nothing."""
        global _original  # a limit belongs to the whole process
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return
        _original = soft, hard

    def restorer() -> Callable[[], None] | None:
        """What gives the original limit back to a child, between fork and exec. None if the limit was not raised."""
        original = _original
        if original is None:
            return None
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, original)
