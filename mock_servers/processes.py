"""Whether a process that a journal names still lives, and its end, with the standard library alone.

A pid may have been given to somebody else meanwhile, so a process counts only while its command line holds a mark
that nobody else's has, such as the path of the journal. A zombie is dead.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_LOOK_AGAIN = 0.02
_PROC = Path("/proc")


def alive(pids: Iterable[int], mark: str) -> list[int]:
    """Those processes that live and have the mark in their command line."""
    return [pid for pid in pids if mark in _command_line(pid)]


def kill(pids: Iterable[int], mark: str, within: float = 5.0) -> list[int]:
    """Kill those that live and have the mark, and wait `within` seconds for their end; who does not end."""
    pids = list(pids)
    end = time.monotonic() + within
    while living := alive(pids, mark):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return living
        time.sleep(_LOOK_AGAIN)
    return []


def _command_line(pid: int) -> str:
    """The words of its command line; empty when it is gone or a zombie."""
    if (_PROC / "self" / "cmdline").exists():
        try:
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    done = subprocess.run(
        ["ps", "-ww", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True, timeout=10
    )
    state, _, words = done.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else words
