"""Processes that a mock forks and does not end, to see whether its client finds them.

The mock forks them before it starts a thread or reads anything. Each of them journals `grandchild-start` before the mock
serves its first request. Like the mock, they end after `max_life` seconds at the latest. Limits: POSIX.
"""

import os
import signal
import sys
import time

from mock_servers.journal import Journal, resource_limits
from mock_servers.lifecycle import Lifecycle
from mock_servers.script import Grandchild


def fork_all(grandchildren: list[Grandchild], journal: Journal, max_life: float) -> None:
    """Start the processes. The caller must have no other thread."""
    if not grandchildren:
        return
    # Nothing writes to this pipe: its end tells the grandchildren that the mock has ended. They cannot watch the
    # inherited stdin for that, because reading it would take the mock's requests.
    mock_gone, alive = os.pipe()
    for grandchild in grandchildren:
        started, ready = os.pipe()
        if os.fork() == 0:
            os.close(alive)
            os.close(started)
            _live(grandchild, journal, max_life, mock_gone, ready)
        os.close(ready)
        os.read(started, 1)
        os.close(started)
    os.close(mock_gone)
    # A grandchild that dies must not stay as a zombie of the mock.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _live(grandchild: Grandchild, journal: Journal, max_life: float, mock_gone: int, ready: int) -> None:
    lifecycle = Lifecycle(journal, prefix="grandchild-")
    try:
        lifecycle.exit_after(max_life)
        lifecycle.handle_signals(ignore_sigterm=grandchild.ignore_sigterm)
        if grandchild.new_session:
            os.setsid()
        _close_streams(grandchild)
        ids = {"ppid": os.getppid(), "pgid": os.getpgid(0), "sid": os.getsid(0)}
        journal.write("grandchild-start", **ids, limits=resource_limits())
        os.write(ready, b"!")
        os.close(ready)
        os.read(mock_gone, 1)
        if not grandchild.ignore_eof:
            lifecycle.exit(0, "eof")
        while True:
            time.sleep(60.0)
    except BaseException as problem:
        # Never return into the mock's own code, which would serve the same client twice.
        print(f"mock grandchild: {problem!r}", file=sys.stderr, flush=True)
        lifecycle.exit(1, repr(problem))


def _close_streams(grandchild: Grandchild) -> None:
    kept = {0: not grandchild.closes_stdin, 1: grandchild.holds_stdout, 2: grandchild.holds_stderr}
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor, keep in kept.items():
        if not keep:
            os.dup2(null, descriptor)
    os.close(null)
