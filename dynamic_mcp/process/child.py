"""A child process that leads its own process group.

After ``terminate`` returned, no process of the group is alive, whether the leader left first, ignored its closed stdin, ignored
SIGTERM, or left grandchildren behind. The leader is only reaped then: until that moment its process id, which is the group's id,
cannot be given to another process, so that a signal never reaches a stranger. When this process is killed itself, the guard does it.

Not reached: a process that left the group on purpose (setsid, a daemon of its own).

On Windows a job object holds the group (``windows``, untested there).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable

import anyio
import msgspec

from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.stderr import StderrTail

if sys.platform == "win32":
    from dynamic_mcp.process import windows

#: Seconds between closing stdin and SIGTERM: the polite way out of MCP's stdio shutdown.
STDIN_GRACE = 1.0
#: Seconds between SIGTERM and SIGKILL, for handlers that save something.
TERM_GRACE = 2.0
#: Seconds that a killed group may take to disappear (a process in an uninterruptible system call).
KILL_GRACE = 2.0

_POLL = 0.02

#: Children whose groups are not known to be gone; a second signal kills them at once.
live: set[Child] = set()


class Launch(msgspec.Struct, frozen=True):
    """How a child is started."""

    #: the program and its arguments, without a shell
    argv: tuple[str, ...]
    environment: dict[str, str]
    #: runs in the child between fork and exec (POSIX); when it fails, the program is not started
    before_exec: Callable[[], None] | None = None
    #: what an error message calls the first word of ``argv``
    program: str = "the command"
    #: adds to the words for how the child ended (``Child.status``)
    explain: Callable[[str], str] = str


def _popen(launch: Launch, announce: Callable[[], None] | None) -> subprocess.Popen[bytes]:
    steps = [step for step in (announce, launch.before_exec) if step is not None]

    def take_steps() -> None:
        for step in steps:
            step()

    return subprocess.Popen(
        launch.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=launch.environment,
        bufsize=0,
        process_group=0,
        # No step takes a lock that another thread (one sends traces) may have held at the fork.
        preexec_fn=take_steps if steps else None,
    )


class Child:
    """A running child and its pipes. ``stdin`` and ``stdout`` are file descriptors that the caller takes over."""

    def __init__(
        self,
        launch: Launch,
        guard: Guard,
        secrets: Iterable[str] = (),
    ) -> None:
        """Start the program. Raises OSError (not found, not executable), ValueError (a NUL in a word) or SubprocessError (``before_exec``).

        ``secrets`` are hidden in what the child writes to stderr.
        """
        self._guard = guard
        #: the end of what the child wrote to stderr
        self.stderr_tail: StderrTail | None = None
        if sys.platform == "win32":
            self._process = windows.popen(launch.argv, launch.environment)
            self._job = windows.Job(int(self._process._handle))
        else:
            self._process = guard.start(lambda announce: _popen(launch, announce))
        self.pid: int = self._process.pid
        self.stdin = self._process.stdin
        self.stdout = self._process.stdout
        self._left = anyio.Event()
        try:
            self._attach(secrets)
        except BaseException:
            # Too many open files, for example. Nobody would know the child.
            self.kill()
            self._guard.forget(self.pid)
            self._process.wait()
            raise
        live.add(self)

    def _attach(self, secrets: Iterable[str]) -> None:
        if self._process.stderr is not None:
            with self._process.stderr as stderr:
                self.stderr_tail = StderrTail(os.dup(stderr.fileno()), secrets)
        self._watch()

    async def wait_left(self) -> None:
        """Wait until the leader has exited. It stays unreaped, and its group may live on."""
        await self._left.wait()

    @property
    def has_left(self) -> bool:
        """Whether the leader has exited."""
        return self._left.is_set()

    def status(self) -> str:
        """How the leader ended, for a message to people. It may be unreaped."""
        code = self._process.returncode
        if code is None and sys.platform != "win32":
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if seen is not None:
                code = seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
        if code is None:
            return "still running"
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        return f"exit code {code}"

    async def terminate(self) -> None:
        """End the whole group: stdin must be closed by now; wait, SIGTERM, wait, SIGKILL, reap. Bounded, never cancelled.

        Once it has returned, a repetition does nothing: the id may belong to somebody else.
        """
        if self not in live:
            return
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(STDIN_GRACE):
                await self._left.wait()
            if await self._group_lives_after(0.0):
                self.signal_group(signal.SIGTERM)
                if await self._group_lives_after(TERM_GRACE):
                    self.kill()
                    await self._group_lives_after(KILL_GRACE)
            with anyio.move_on_after(KILL_GRACE):
                await self._left.wait()
            if self.has_left:
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
        """Send a signal to every process of the group, if there is one left. On Windows there is only the end."""
        if sys.platform == "win32":
            self._job.terminate()
        else:
            # macOS answers EPERM for a group that holds only zombies; the census below is what decides.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _group_lives_after(self, grace: float) -> bool:
        with anyio.move_on_after(grace):
            while group_is_alive(self.pid):  # noqa: ASYNC110  # the kernel has no event for an empty group
                await anyio.sleep(_POLL)
        return group_is_alive(self.pid)

    def _watch(self) -> None:
        """Set ``_left`` when the leader exits, without reaping it: by pidfd where there is one, else by a thread."""
        loop = asyncio.get_running_loop()
        if hasattr(os, "pidfd_open"):
            try:
                descriptor = os.pidfd_open(self.pid)
            except OSError:
                pass
            else:

                def left() -> None:
                    loop.remove_reader(descriptor)
                    os.close(descriptor)
                    self._left.set()

                loop.add_reader(descriptor, left)
                return

        def wait() -> None:
            if sys.platform == "win32":
                self._process.wait()
            else:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            loop.call_soon_threadsafe(self._left.set)

        threading.Thread(target=wait, name=f"wait-{self.pid}", daemon=True).start()


def group_is_alive(group: int) -> bool:
    """Whether a process of the group lives. A zombie is dead: its parent, not the group, decides when it goes."""
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
    # Asked of the kernel for each process, because reading the state of all of them takes twenty times as long, and the loop waits.
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
    """Whether the process is a zombie, or gone by now."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command name is in parentheses and may hold anything; the state is the first word after the last one.
            return file.read().rpartition(b")")[2].split(None, 1)[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True


def _group_is_alive_by_ps(group: int) -> bool:
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,state="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listing.stdout.splitlines())
    return any(len(row) == 2 and row[0] == str(group) and not row[1].startswith("Z") for row in rows)
