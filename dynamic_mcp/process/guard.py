"""What happens to the process groups when this process is killed: a helper ends them.

A signal that cannot be caught leaves no time to clean up, and a server that ignores its closed stdin would live on for ever. So a
POSIX shell of about one megabyte waits on a pipe whose only writer is this process. It is told each group before the group's program
runs, and that a group is gone before its id can be given to anybody else; when the pipe ends it asks the groups that are
left to go, kills those that stay, and ends. It starts with the first child and ends with ``close``.

The announcement is made between fork and exec by the child itself, which holds the pipe until then: there is no moment at which
this process can be killed and a child be unknown to the helper. The price is a fork in place of a vfork, one to four milliseconds
for each child. Without a POSIX shell (Windows: a job object does this) children run unguarded, and a debug message says so.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

import anyio

from dynamic_mcp.log import log

# "+ ID" is said by a child before its exec, "=" by us when that succeeded, "!" when it failed, "- ID" when the group is empty.
# Groups that closed their stdin get a second to go by themselves, two more after SIGTERM. A group that is found empty once is
# never signalled again, because its id may belong to somebody else from then on.
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
tell() {
  kept=
  for group in $groups; do kill -s "$1" -- "-$group" 2>/dev/null && kept="$kept $group"; done
  groups=$kept
}
wait_for() {
  ticks=$1
  while tell 0; [ -n "$groups" ] && [ "$ticks" -gt 0 ]; do sleep 0.1 || sleep 1; ticks=$((ticks - 1)); done
}
wait_for 10
tell TERM
wait_for 20
tell KILL
"""
_SHELL = "/bin/sh"
#: Seconds that the helper may take to notice that it is not needed any more.
_CLOSE_GRACE = 1.0


class Guard:
    """The helper process, and what it has to be told. A helper that was killed is replaced when the next child starts."""

    def __init__(self) -> None:
        #: held for the moment of one start
        self.turn = anyio.Lock()
        self._groups: set[int] = set()
        self._helper: subprocess.Popen[bytes] | None = None
        self._unavailable = sys.platform == "win32"

    @property
    def pid(self) -> int | None:
        """The helper's process id; None while none runs."""
        return self._helper.pid if self._helper is not None and self._helper.poll() is None else None

    def start(
        self, popen: Callable[[Callable[[], None] | None], subprocess.Popen[bytes]]
    ) -> subprocess.Popen[bytes]:
        """Start a child that leads a new group: ``popen`` gets what has to run between fork and exec."""
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
        """The group is empty and its leader about to be reaped: from then on the id may belong to anybody."""
        self._groups.discard(group)
        self._write(b"- %d\n" % group)

    async def close(self) -> None:
        """End the helper, and wait a moment for its end. Groups that are still known are ended by it, which takes longer."""
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
            # A session of its own: a Ctrl-C at the terminal must not reach it.
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
            # Without a helper, or with a closed pipe, nobody is there to be told.
            with contextlib.suppress(OSError, ValueError):
                self._helper.stdin.write(line)
