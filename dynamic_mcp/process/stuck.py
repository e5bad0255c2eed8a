"""Tells a child that hangs from one that is slow to start.

A slow child does not read its input yet, because it still loads or downloads. Or it uses processor time, or says what it does. A
child that has read input, and then does nothing of this for ``STUCK`` seconds, hangs. A server that waits that long for something else,
such as its database, looks the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from dynamic_mcp.clock import Clock
from dynamic_mcp.process.activity import processor_seconds
from dynamic_mcp.process.pipes import unread_bytes

if TYPE_CHECKING:
    from dynamic_mcp.process.child import Child

#: Seconds without a sign of life.
STUCK = 20.0
#: Seconds of processor time in this period that are no sign of life, such as those of timers.
_IDLE = 0.1
_POLL = 0.5


async def wait_stuck(child: Child, *, reads: bool, clock: Clock = time.monotonic) -> None:
    """Wait until the child hangs. Waits for ever on a system that does not show what a child does.

    ``reads`` says whether the child is known to have read its first request.
    """
    since, used, said, waiting = clock(), 0.0, -1, 0
    while True:
        # Before the look at the child, so that the silence includes no time after the look.
        now = clock()
        seconds = processor_seconds([child.pid])
        unread = unread_bytes(child.stdin)
        if seconds is None or unread is None:
            await anyio.sleep_forever()
            return
        written = 0 if child.stderr_tail is None else child.stderr_tail.written
        reads = reads or unread < waiting
        if not reads or unread != waiting or written != said or seconds[child.pid] > used + _IDLE:
            since, used, said, waiting = clock(), seconds[child.pid], written, unread
        elif now >= since + STUCK:
            return
        await anyio.sleep(_POLL)
