"""The process guard: a helper process that ends the process groups when this process is killed.

SIGKILL leaves no time to clean up, and a server that ignores its closed stdin would live for ever. So the helper, a POSIX shell of
about one megabyte, waits on a pipe whose only writer is this process. The helper learns of each group before the group's program
runs, and of its end before the system can reuse its id. When the pipe ends, the helper sends SIGTERM to the groups that are left,
kills those that stay, and exits. It starts with the first child and ends with ``close``.

A child runs as the same user, so it can kill the helper. This process notices that at once, and starts another helper with the groups of
the moment. ``MIN_LIFE`` limits how often; until then children are unguarded. If both processes die before the replacement, children
survive, and so they do if a child stops the helper (SIGSTOP).

The child itself announces its group between fork and exec, and holds the pipe until then. So this process can be killed at any
moment, and the helper knows every child. The price is a fork in place of a vfork: one to four milliseconds for each child.
Without a POSIX shell, children run unguarded, and a debug message says so. On Windows a job object replaces the helper.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable

import anyio

from dynamic_mcp.log import log
from dynamic_mcp.process.exits import watch_exit
from dynamic_mcp.process.turns import StartTurns

# A child writes "+ ID" before its exec. This process writes "=" if the exec succeeded, "!" if it failed, and "- ID" when the group
# is empty. A group gets two seconds to exit after its stdin closed, and two more after SIGTERM. The helper never signals a group
# again that it found empty once, because the system may reuse the id.
SCRIPT = """
trap '' HUP INT TERM
groups=
starting=
while read -r sign group; do
  case $sign in
  +) starting=$group ;;
  =) groups="$groups $starting" starting= ;;
  !) starting= ;;
  -) kept=
     for other in $groups; do [ "$other" = "$group" ] || kept="$kept $other"; done
     groups=$kept ;;
  esac
done
groups="$groups $starting"
signal_all() {
  kept=
  for group in $groups; do kill -s "$1" -- "-$group" 2>/dev/null && kept="$kept $group"; done
  groups=$kept
}
wait_for() {
  ticks=$1
  while signal_all 0; [ -n "$groups" ] && [ "$ticks" -gt 0 ]; do sleep 0.1 || sleep 1; ticks=$((ticks - 1)); done
}
wait_for 20
signal_all TERM
wait_for 20
signal_all KILL
"""
_SHELL = "/bin/sh"
#: Seconds that the helper may take to exit when no group is left.
_CLOSE_GRACE = 1.0
#: Seconds between two starts of a helper. A start takes about 2 ms, so a child that always kills the helper costs one percent.
MIN_LIFE = 0.2


class Guard:
    """Starts children, and tells the helper process of their groups. Replaces a helper that was killed."""

    def __init__(self) -> None:
        #: held while one child starts
        self.start_lock = anyio.Lock()
        #: the turns of the starts, handshake included
        self.turns = StartTurns()
        self._groups: set[int] = set()
        self._helper: subprocess.Popen[bytes] | None = None
        self._exited = anyio.Event()
        #: the time of the last start of a helper, and the timer of the next one
        self._began = 0.0
        self._replacement: asyncio.TimerHandle | None = None
        self._closing = self._warned = False
        self._unavailable = sys.platform == "win32"

    @property
    def pid(self) -> int | None:
        """The helper's process id; None while no helper runs."""
        return self._helper.pid if self._helper is not None and self._helper.poll() is None else None

    def start(
        self, popen: Callable[[Callable[[], None] | None], subprocess.Popen[bytes]]
    ) -> subprocess.Popen[bytes]:
        """Start a child that leads a new group; ``popen`` gets the function to run between fork and exec, or None."""
        if not self._unavailable and self.pid is None:
            self._start_helper()
        if self._helper is None or self._helper.stdin is None:
            process = popen(None)
            self._groups.add(process.pid)
            return process
        descriptor = self._helper.stdin.fileno()

        def announce() -> None:
            with contextlib.suppress(OSError):
                os.write(descriptor, b"+ %d\n" % os.getpid())

        try:
            process = popen(announce)
        except BaseException:
            self._write(b"!\n")
            raise
        self._write(b"=\n")
        self._groups.add(process.pid)
        return process

    def forget(self, group: int) -> None:
        """Tell the helper that the group is empty. Call this before the leader is reaped: afterwards the system may reuse the id."""
        self._groups.discard(group)
        self._write(b"- %d\n" % group)

    async def close(self) -> None:
        """End the helper, and wait up to a second for its exit. The helper first ends the groups that are left, which takes longer."""
        self._closing = True
        self._cancel_replacement()
        if self._helper is not None and self._helper.stdin is not None:
            self._helper.stdin.close()
            with anyio.move_on_after(_CLOSE_GRACE, shield=True):
                await self._exited.wait()

    def _start_helper(self) -> None:
        self._cancel_replacement()
        if self._helper is not None and self._helper.stdin is not None:
            self._helper.stdin.close()
        self._helper, self._began, self._closing = None, time.monotonic(), False
        try:
            # A new session, because a Ctrl-C at the terminal must not reach the helper.
            helper = subprocess.Popen(
                [_SHELL, "-c", SCRIPT, "dynamic-mcp-guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            # A lack of processes or descriptors may pass; a missing shell does not.
            self._unavailable = isinstance(error, FileNotFoundError | PermissionError)
            log.debug("servers run unguarded, %s cannot be started: %s", _SHELL, error.strerror)
            if not self._unavailable:
                self._replace_after(1.0)
            return
        assert helper.stdin is not None
        # The proxy must not wait for a helper that a child has stopped.
        os.set_blocking(helper.stdin.fileno(), False)
        self._helper, exited = helper, anyio.Event()
        self._exited = exited

        def on_exit() -> None:
            helper.wait()
            exited.set()
            if helper is self._helper and not self._closing:
                self._on_death(helper.pid)

        watch_exit(helper, on_exit)
        for group in self._groups:
            self._write(b"+ %d\n=\n" % group)

    def _on_death(self, pid: int) -> None:
        log.log(
            logging.DEBUG if self._warned else logging.WARNING,
            "the process guard (pid %d) was killed; another one replaces it",
            pid,
        )
        self._warned = True
        self._replace_after(self._began + MIN_LIFE - time.monotonic())

    def _replace_after(self, seconds: float) -> None:
        self._cancel_replacement()
        if seconds <= 0:
            self._start_helper()
        else:
            self._replacement = asyncio.get_running_loop().call_later(seconds, self._start_helper)

    def _cancel_replacement(self) -> None:
        if self._replacement is not None:
            self._replacement.cancel()
            self._replacement = None

    def _write(self, line: bytes) -> None:
        if self._helper is not None and self._helper.stdin is not None:
            # The helper may be gone, or the pipe closed.
            with contextlib.suppress(OSError, ValueError):
                if self._helper.stdin.write(line) is None:
                    # The pipe is full, so the helper has stopped to read. Its replacement learns of all groups.
                    self._helper.kill()
