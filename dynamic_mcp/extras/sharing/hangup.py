"""Tells when the other end of a socket has gone.

An event loop only reports the end of the input. A process that has died causes it, and so does one that sends nothing more and still
reads. On Linux, epoll tells the two apart. On other systems, only the next write does.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable


def watch_hangup(descriptor: int, on_hangup: Callable[[], None]) -> Callable[[], None]:
    """Call ``on_hangup`` once the other end has closed both directions. The result ends the watch; a second call does nothing."""
    if sys.platform != "linux":
        return lambda: None
    loop, watch = asyncio.get_running_loop(), select.epoll()
    # A loop wakes up for data and for room too, which here would be all the time. This one has only the hang-up, which needs no flag.
    watch.register(descriptor, 0)

    def stop() -> None:
        if not watch.closed:
            loop.remove_reader(watch.fileno())
            watch.close()

    def hung_up() -> None:
        stop()
        on_hangup()

    loop.add_reader(watch.fileno(), hung_up)
    return stop
