"""Whether a process of a journal still lives, and how to kill it, with the standard library alone.

The system may have given its pid to another program meanwhile. So a process counts only if its command line contains a
mark that no other process has, such as the path of the journal. A zombie counts as dead.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_POLL_INTERVAL = 0.02
_PROC = Path("/proc")


def alive(pids: Iterable[int], mark: str) -> list[int]:
    """The processes that live and have the mark in their command line."""
    return [pid for pid in pids if mark in _command_line(pid)]


def kill(pids: Iterable[int], mark: str, within: float = 5.0) -> list[int]:
    """Kill the processes that live and have the mark. Returns those that still live after `within` seconds."""
    pids = list(pids)
    end = time.monotonic() + within
    while living := alive(pids, mark):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            return living
        time.sleep(_POLL_INTERVAL)
    return []


def _command_line(pid: int) -> str:
    """The command line of a process; empty if the process has ended or is a zombie."""
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
