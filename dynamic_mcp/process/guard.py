"""The process guard: a helper process that ends the process groups when this process is killed.

SIGKILL leaves no time to clean up, and a server that ignores its closed stdin would live for ever. So the helper, a POSIX shell of
about one megabyte, waits on a pipe whose only writer is this process. The helper learns of each group before the group's program
runs, and of its end before the system can reuse its id. When the pipe ends, the helper sends SIGTERM to the groups that are left,
kills those that stay, and exits. It starts with the first child and ends with ``close``.

The child itself announces its group between fork and exec, and holds the pipe until then. So this process can be killed at any
moment, and the helper knows every child. The price is a fork in place of a vfork: one to four milliseconds for each child.
Without a POSIX shell, children run unguarded, and a debug message says so. On Windows a job object replaces the helper.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

import anyio

from dynamic_mcp.log import log

# A child writes "+ ID" before its exec. This process writes "=" if the exec succeeded, "!" if it failed, and "- ID" when the group
# is empty. A group gets one second to exit after its stdin closed, and two more after SIGTERM. The helper never signals a group
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
wait_for 10
signal_all TERM
wait_for 20
signal_all KILL
"""
_SHELL = "/bin/sh"
#: Seconds that the helper may take to exit when no group is left.
_CLOSE_GRACE = 1.0


class Guard:
    """Starts children, and tells the helper process of their groups. The next start replaces a helper that was killed."""

    def __init__(self) -> None:
        #: held while one child starts
        self.start_lock = anyio.Lock()
        self._groups: set[int] = set()
        self._helper: subprocess.Popen[bytes] | None = None
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
            return popen(None)
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
        helper = self._helper
        if helper is None or helper.stdin is None:
            return
        helper.stdin.close()
        with anyio.move_on_after(_CLOSE_GRACE, shield=True):
            while helper.poll() is None:  # noqa: ASYNC110  # shorter than the set-up of a watcher
                await anyio.sleep(0.005)

    def _start_helper(self) -> None:
        if self._helper is not None and self._helper.stdin is not None:
            self._helper.stdin.close()
        try:
            # A new session, because a Ctrl-C at the terminal must not reach the helper.
            self._helper = subprocess.Popen(
                [_SHELL, "-c", SCRIPT, "dynamic-mcp-guard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._unavailable = True
            log.debug("servers run unguarded, %s cannot be started: %s", _SHELL, error.strerror)
            return
        for group in self._groups:
            self._write(b"+ %d\n=\n" % group)

    def _write(self, line: bytes) -> None:
        if self._helper is not None and self._helper.stdin is not None:
            # The helper may be gone, or the pipe closed.
            with contextlib.suppress(OSError, ValueError):
                self._helper.stdin.write(line)
