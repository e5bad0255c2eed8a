"""A child process that leads its own session and process group.

After ``terminate`` returned, no process of the group is alive, even if the leader exited first, ignored its closed stdin, ignored
SIGTERM, or left grandchildren. Two kinds of processes are exceptions: those in a system call that no signal interrupts, and those of
another user. ``terminate`` gives up on them after a few seconds. It reaps the leader last. Until that moment the system cannot give its
process id, which is the group's id, to another process, so a signal never reaches a stranger. When this process is killed, the guard
ends the group.

The session has no controlling terminal. So a child of ``check --connect`` cannot open ``/dev/tty``, put characters into the user's
terminal, or draw a prompt there. A Ctrl-C reaches the proxy alone.

A process that left the group on purpose (``setsid``, a daemon) survives.

On Windows a job object holds the group (``windows``, not tested there).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import anyio
import msgspec

from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.process import descriptors, scripts
from dynamic_mcp.process.exits import watch_exit
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.stderr import StderrTail

if sys.platform == "win32":
    from dynamic_mcp.process import windows

#: Seconds between closing stdin and SIGTERM (MCP 2025-11-25, basic/lifecycle, "Shutdown"), as in the official SDKs.
STDIN_GRACE = 2.0
#: Seconds between SIGTERM and SIGKILL, for handlers that save something.
TERM_GRACE = 2.0
#: Seconds that a killed group may take to disappear: a process can be in an uninterruptible system call.
KILL_GRACE = 2.0

_POLL = 0.02

#: Children whose groups may be alive. A second signal to the proxy kills them at once.
live: set[Child] = set()


class Launch(msgspec.Struct, frozen=True):
    """How to start a child."""

    #: the program and its arguments, without a shell
    argv: tuple[str, ...]
    environment: dict[str, str]
    #: the folder to start in; None for that of this process
    cwd: str | None = None
    #: runs in the child between fork and exec (POSIX); if it fails, the program does not start
    before_exec: Callable[[], None] | None = None
    #: the name of the first word of ``argv`` in error messages
    program: str = "the command"
    #: adds an explanation to ``Child.status``
    explain: Callable[[str], str] = str


def _popen(launch: Launch, announce: Callable[[], None] | None) -> subprocess.Popen[bytes]:
    steps = [step for step in (announce, descriptors.restorer(), launch.before_exec) if step is not None]

    def run_steps() -> None:
        for step in steps:
            step()

    return subprocess.Popen(
        launch.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=launch.environment,
        cwd=launch.cwd,
        bufsize=0,
        # ``setsid`` makes the child the leader of a group, too.
        start_new_session=True,
        # No step takes a lock, which another thread (one sends traces) could hold at the fork.
        preexec_fn=run_steps if steps else None,
    )


def _start(launch: Launch, guard: Guard) -> subprocess.Popen[bytes]:
    """Start the program; a script without ``#!`` by the shell. Raises like ``Child``."""
    try:
        return guard.start(lambda announce: _popen(launch, announce))
    except OSError as error:
        if error.errno != errno.ENOEXEC or not scripts.is_text(
            launch.argv[0], launch.environment, launch.cwd
        ):
            raise
    argv = scripts.by_shell(launch.argv, launch.environment)
    by_shell = msgspec.structs.replace(launch, argv=argv)
    return guard.start(lambda announce: _popen(by_shell, announce))


class Child:
    """A running child and its pipes. The caller owns ``stdin`` and ``stdout``, and closes them."""

    def __init__(
        self,
        launch: Launch,
        guard: Guard,
        hidden: HiddenValues | None = None,
    ) -> None:
        """Start the program. Raises OSError (not found, not executable), ValueError (a NUL in a word) or SubprocessError (``before_exec``).

        ``stderr_tail`` does not show what is ``hidden``.
        """
        self._guard = guard
        #: the end of the child's stderr
        self.stderr_tail: StderrTail | None = None
        if sys.platform == "win32":
            self._process = windows.popen(launch.argv, launch.environment, launch.cwd)
            self._job = windows.Job(int(self._process._handle))
        else:
            self._process = _start(launch, guard)
        self.pid: int = self._process.pid
        self.stdin = self._process.stdin
        self.stdout = self._process.stdout
        self._exited = anyio.Event()
        try:
            self._attach(hidden or HiddenValues())
        except BaseException:
            # For example, too many open files. Nothing else would end this child.
            self.kill()
            self._guard.forget(self.pid)
            self._process.wait()
            raise
        live.add(self)

    def _attach(self, hidden: HiddenValues) -> None:
        if self._process.stderr is not None:
            with self._process.stderr as stderr:
                self.stderr_tail = StderrTail(os.dup(stderr.fileno()), hidden)
        watch_exit(self._process, self._exited.set)

    async def wait_left(self) -> None:
        """Wait until the leader has exited. The leader stays unreaped, and the rest of its group may live."""
        await self._exited.wait()

    @property
    def has_exited(self) -> bool:
        """Whether the leader has exited."""
        return self._exited.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether the leader has exited with an error status, by a signal, or in an unknown way."""
        try:
            return bool(self._exit_code())
        except ChildProcessError:
            return True

    def status(self) -> str:
        """How the leader ended, for a message. The leader may be unreaped."""
        try:
            code = self._exit_code()
        except ChildProcessError:
            return "exit code unknown"
        if code is None:
            return "still running"
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        return f"exit code {code}"

    def _exit_code(self) -> int | None:
        """The exit code of the leader, negative for a signal; None while it runs.

        Raises ChildProcessError if something else in this process has reaped the leader.
        """
        code = self._process.returncode
        if code is None and sys.platform != "win32":
            exit = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if exit is not None:
                code = exit.si_status if exit.si_code == os.CLD_EXITED else -exit.si_status
        return code

    async def terminate(self) -> None:
        """End the whole group: wait, SIGTERM, wait, SIGKILL, wait, reap. The caller has closed stdin. Takes 8 s at most, not cancellable.

        A second call does nothing, because the system may have given the id to another process.
        """
        if self not in live:
            return
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(STDIN_GRACE):
                await self._exited.wait()
            if await self._group_lives_after(0.0):
                self.signal_group(signal.SIGTERM)
                if await self._group_lives_after(TERM_GRACE):
                    self.kill()
                    await self._group_lives_after(KILL_GRACE)
            with anyio.move_on_after(KILL_GRACE):
                await self._exited.wait()
            if self.has_exited:
                self._guard.forget(self.pid)
                self._process.wait()
            live.discard(self)
            if self.stderr_tail is not None:
                self.stderr_tail.close()
            if sys.platform == "win32":
                self._job.close()

    def kill(self) -> None:
        """End every process of the group at once."""
        self.signal_group(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def signal_group(self, number: int) -> None:
        """Send a signal to every process of the group, if one is left. On Windows, end them."""
        if sys.platform == "win32":
            self._job.terminate()
        else:
            # macOS answers EPERM for a group that holds only zombies; ``group_is_alive`` decides.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _group_lives_after(self, grace: float) -> bool:
        with anyio.move_on_after(grace):
            while group_is_alive(self.pid):  # noqa: ASYNC110  # the kernel has no event for an empty group
                await anyio.sleep(_POLL)
        return group_is_alive(self.pid)


def group_is_alive(group: int) -> bool:
    """Whether a process of the group is alive. A zombie is dead: only its parent can remove it."""
    if sys.platform == "win32":
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if not os.path.exists("/proc/self/stat"):
        return _group_is_alive_by_ps(group)
    # One getpgid for each process: reading the state of all of them takes twenty times as long, and blocks the loop.
    return any(
        entry.isdigit() and _group_of(int(entry)) == group and not _is_dead(entry)
        for entry in os.listdir("/proc")
    )


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _is_dead(pid: str) -> bool:
    """Whether the process is a zombie or gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command name is in parentheses and may contain some; the state is the first word after the last parenthesis.
            return file.read().rpartition(b")")[2].split(None, 1)[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True


def _group_is_alive_by_ps(group: int) -> bool:
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,state="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listing.stdout.splitlines())
    return any(len(row) == 2 and row[0] == str(group) and not row[1].startswith("Z") for row in rows)
