"""The processor time of process groups, which shows whether a child works or waits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

_TICK = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


def processor_seconds(groups: Collection[int]) -> dict[int, float] | None:
    """The seconds that the processes of each group have used so far. None on a system without ``/proc``."""
    if not os.path.exists("/proc/self/stat"):
        return None
    seconds = dict.fromkeys(groups, 0.0)
    for entry in os.listdir("/proc"):
        # A process can end at any moment. Its group is cheap to read, so the other processes cost little.
        with contextlib.suppress(OSError, IndexError, ValueError):
            if entry.isdigit() and (group := os.getpgid(int(entry))) in seconds:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                # Fields 14 to 17 of proc(5): user and system time, of the process and of its reaped children.
                seconds[group] += sum(map(int, fields[11:15])) * _TICK
    return seconds
