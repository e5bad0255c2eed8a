"""Processes that a mock leaves in the world, to see whether its client finds them.

They are forked before the mock starts a thread or reads anything, and have journalled `grandchild-start`
before the mock serves its first request. POSIX only. Like the mock they end themselves after the same
bounded life.
"""

import os
import signal
import sys
import time

from mock_servers.journal import Journal, resource_limits
from mock_servers.lifecycle import Life
from mock_servers.script import Grandchild


def fork_all(grandchildren: list[Grandchild], journal: Journal, max_life: float) -> None:
    """Start the processes. The caller must have no other thread."""
    if not grandchildren:
        return
    # Never written to: its end tells the grandchildren that the mock has gone. (They cannot read the
    # inherited stdin for that, it would swallow the mock's requests.)
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
    # Grandchildren that die must not stay as zombies of the mock.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _live(grandchild: Grandchild, journal: Journal, max_life: float, mock_gone: int, ready: int) -> None:
    life = Life(journal, prefix="grandchild-")
    try:
        life.limit(max_life)
        life.listen(ignore_sigterm=grandchild.ignore_sigterm)
        if grandchild.new_session:
            os.setsid()
        _let_go(grandchild)
        place = {"ppid": os.getppid(), "pgid": os.getpgid(0), "sid": os.getsid(0)}
        journal.write("grandchild-start", **place, limits=resource_limits())
        os.write(ready, b"!")
        os.close(ready)
        os.read(mock_gone, 1)
        if not grandchild.ignore_eof:
            life.end(0, "eof")
        while True:
            time.sleep(60.0)
    except BaseException as problem:
        # Never return into the mock's own code, which would serve the same client twice.
        print(f"mock grandchild: {problem!r}", file=sys.stderr, flush=True)
        life.end(1, repr(problem))


def _let_go(grandchild: Grandchild) -> None:
    kept = {0: not grandchild.closes_stdin, 1: grandchild.holds_stdout, 2: grandchild.holds_stderr}
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, keep in kept.items():
        if not keep:
            os.dup2(nothing, descriptor)
    os.close(nothing)
