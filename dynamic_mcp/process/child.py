"""A child process that leads its own process group.

After ``terminate`` returned, no process of the group is alive, whether the leader left first, ignored its closed stdin, ignored
SIGTERM, or left grandchildren behind. The leader is only reaped then: until that moment its process id, which is the group's id,
cannot be given to another process, so that a signal never reaches a stranger.

On Windows there is CREATE_NEW_PROCESS_GROUP and the end of the leader only; untested there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

import anyio

#: Seconds between closing stdin and SIGTERM: the polite way out of MCP's stdio shutdown.
STDIN_GRACE = 1.0
#: Seconds between SIGTERM and SIGKILL, for handlers that save something.
TERM_GRACE = 2.0
#: Seconds that a killed group may take to disappear (a process in an uninterruptible system call).
KILL_GRACE = 2.0

_POLL = 0.02
_WINDOWS = sys.platform == "win32"

#: Children whose groups are not known to be gone; a second signal kills them at once.
live: set[Child] = set()


class Child:
    """A running child and its pipes. ``stdin`` and ``stdout`` are file descriptors that the caller takes over."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start ``argv`` without a shell. Raises OSError (not found, not executable) or ValueError (a NUL in it)."""
        own_group: dict[str, int] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if _WINDOWS
            else {"process_group": 0}
        )
        self._process = subprocess.Popen(  # type: ignore[call-overload]  # the group flag differs per platform
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            bufsize=0,
            **own_group,
        )
        self.pid: int = self._process.pid
        self.stdin = self._process.stdin
        self.stdout = self._process.stdout
        self._left = anyio.Event()
        live.add(self)
        self._watch()

    async def wait_left(self) -> None:
        """Wait until the leader has exited. It stays unreaped, and its group may live on."""
        await self._left.wait()

    @property
    def has_left(self) -> bool:
        """Whether the leader has exited."""
        return self._left.is_set()

    def status(self) -> str:
        """How the leader ended, for a message to people; only after ``terminate``."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        return f"exit code {code}"

    async def terminate(self) -> None:
        """End the whole group: stdin must be closed by now; wait, SIGTERM, wait, SIGKILL, reap. Bounded, never cancelled."""
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
                self._process.wait()
            live.discard(self)

    def kill(self) -> None:
        """SIGKILL to every process of the group."""
        self.signal_group(signal.SIGTERM if _WINDOWS else signal.SIGKILL)

    def signal_group(self, number: int) -> None:
        """Send a signal to every process of the group, if there is one left."""
        try:
            if _WINDOWS:
                self._process.terminate()
            else:
                os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # macOS answers EPERM for a group that holds only zombies; the census below is what decides.
            pass

    async def _group_lives_after(self, grace: float) -> bool:
        with anyio.move_on_after(grace):
            while group_is_alive(self.pid):  # noqa: ASYNC110  # the kernel has no event for an empty group
                await anyio.sleep(_POLL)
        return group_is_alive(self.pid)

    def _watch(self) -> None:
        """Set ``_left`` when the leader exits, without reaping it: by pidfd where there is one, else by a thread."""
        import asyncio

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
            if _WINDOWS:
                self._process.wait()
            else:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            loop.call_soon_threadsafe(self._left.set)

        threading.Thread(target=wait, name=f"wait-{self.pid}", daemon=True).start()


def group_is_alive(group: int) -> bool:
    """Whether a process of the group lives. A zombie is dead: its parent, not the group, decides when it goes."""
    if _WINDOWS:
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if not os.path.exists("/proc/self/stat"):
        return _group_is_alive_by_ps(group)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # The command name is in parentheses and may hold anything; fields count from the last one.
                    state, _, process_group = file.read().rpartition(b")")[2].split(None, 3)[:3]
            except (OSError, ValueError):
                continue
            if int(process_group) == group and state not in (b"Z", b"X"):
                return True
    return False


def _group_is_alive_by_ps(group: int) -> bool:
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,state="], capture_output=True, text=True, check=False)
    rows = (line.split() for line in listing.stdout.splitlines())
    return any(len(row) == 2 and row[0] == str(group) and not row[1].startswith("Z") for row in rows)
