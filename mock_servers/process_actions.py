"""The actions of a mock that concern other processes, or its own place among them. Limits: POSIX; `kill_siblings` needs Linux."""

import contextlib
import os
import signal
import time

from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle


def open_terminal(journal: Journal, words: str) -> None:
    """Try to write to the terminal, and journal the result."""
    error = None
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as problem:
        error = str(problem)
    else:
        os.write(terminal, words.encode())
        os.close(terminal)
    journal.write("terminal", error=error)


def kill_siblings(journal: Journal) -> None:
    """Kill every other child of the parent, and journal them."""
    parent = os.getppid()
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
        pids = [int(pid) for pid in file.read().split() if int(pid) != os.getpid()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    journal.write("killed", pids=pids)


def hand_over(journal: Journal, lifecycle: Lifecycle, after: float) -> None:
    """Go on in a new process, and let this one exit after some seconds."""
    launcher = os.getpid()
    if os.fork():
        time.sleep(after)
        lifecycle.exit(0, "launcher")
    journal.write("handed-over", launcher=launcher)
