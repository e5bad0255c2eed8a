"""A started program with its three pipes: bounded capture, a stdin that cannot block, and a guaranteed end.

The program may flood its output, never read, never exit, or leave its pipes to grandchildren. The event loop still goes on, memory
stays bounded and `finish` returns in bounded time. Readiness callbacks on the runner's own descriptors read the output. The subprocess
support of the event loop would not do, because its `wait()` also waits for pipes that grandchildren may hold forever.

Limits: POSIX only, because it uses `loop.add_reader`; asyncio only, as anyio's backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from conformance.errors import ImplementationCrashed, UsageError, Violation
from conformance.workbench.census import managed_pids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conformance.workbench.timeline import Timeline

MAX_STDOUT = 64 * 1024 * 1024
MAX_STDERR = 8 * 1024 * 1024
_CHUNK = 64 * 1024
_POLL = 0.01
#: seconds for the exit of a program whose stdin is closed
_LAST_MOMENT = 1.0
_SMALL_PIPE = 4096


class Capture:
    """The bytes of one stream up to a limit; it counts and drops the rest."""

    def __init__(
        self, fd: int, limit: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self.data = bytearray()
        self.size = 0
        self.ended = False
        self._fd = fd
        self._limit = limit
        self._on_data = on_data
        self._on_end = on_end
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    @property
    def descriptor(self) -> int | None:
        """The runner's end of the pipe while it is open."""
        return None if self.ended else self._fd

    @property
    def overflowed(self) -> bool:
        return self.size > self._limit

    def _read(self) -> None:
        try:
            chunk = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        kept = chunk[: max(0, self._limit - self.size)]
        self.size += len(chunk)
        self.data += kept
        self._on_data(kept)

    def ignore(self) -> None:
        """Stop reading until `drain`, and keep the stream open. On Linux the pipe then takes only 4 KiB."""
        if not self.ended:
            asyncio.get_running_loop().remove_reader(self._fd)
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fd, getattr(fcntl, "F_SETPIPE_SZ", 1031), _SMALL_PIPE)

    def drain(self) -> None:
        """Read what is already in the pipe, up to the limit: the last output of a program that has gone."""
        while not self.ended and not self.overflowed:
            before = self.size
            self._read()
            if self.size == before:
                return

    def close(self) -> None:
        if self.ended:
            return
        self.ended = True
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self._on_end()


class ChildProcess(Protocol):
    """The part of `subprocess.Popen` that `Launched` uses."""

    pid: int

    def poll(self) -> int | None: ...


class Launched:
    """One running program. The caller of `launch` also calls `finish` and `release`."""

    def __init__(
        self,
        process: ChildProcess,
        streams: tuple[int, int, int],
        actor: str,
        timeline: Timeline,
        listener: StdoutListener,
    ) -> None:
        """`streams` are the runner's ends of its stdin, stdout and stderr; `release` closes them."""
        managed_pids.add(process.pid)
        self.started = time.monotonic()
        self.sent_signals: list[int] = []
        self.actor = actor
        self._process = process
        self._timeline = timeline
        self._exited_at: float | None = None
        stdin, stdout, stderr = streams
        self._stdin: int | None = stdin
        os.set_blocking(stdin, False)
        self.stdout = Capture(stdout, MAX_STDOUT, listener.on_stdout, listener.on_stdout_end)
        self.stderr = Capture(stderr, MAX_STDERR, lambda _: None, lambda: None)
        self._writing = anyio.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit status, negative for a signal; None while the program runs."""
        code = self._process.poll()
        if code is not None and self._exited_at is None:
            self._exited_at = time.monotonic()
            self._timeline.record(self.actor, "exit", describe_end(code))
        return code

    @property
    def pipes(self) -> set[str]:
        """The names of its stdin and stdout pipes in /proc; empty on systems without /proc."""
        descriptors = self._stdin, self.stdout.descriptor
        links = (Path(f"/proc/self/fd/{fd}") for fd in descriptors if fd is not None)
        return {os.readlink(link) for link in links if link.is_symlink()}

    @property
    def lifetime(self) -> float:
        """Seconds from the start to the exit, or to now."""
        return (self._exited_at or time.monotonic()) - self.started

    async def write(self, data: bytes, within: float = 5.0) -> None:
        """Write everything to stdin. Raises `Violation` when the program needs longer than `within` seconds to read it."""
        rest = memoryview(data)
        try:
            with anyio.fail_after(within):
                async with self._writing:
                    while rest:
                        rest = rest[await self._write_some(rest) :]
        except TimeoutError:
            seen = f"it read {len(data) - len(rest)} bytes in {within:g} s"
            raise Violation(
                f"the implementation reads {len(data)} bytes from stdin", seen, timed=True
            ) from None
        except (BrokenPipeError, ConnectionResetError):
            if await self.wait(_LAST_MOMENT) is not None:
                raise ImplementationCrashed("stdin is open", describe_end(self.code)) from None
            raise Violation("stdin is open", "the implementation has closed its stdin") from None

    async def _write_some(self, data: memoryview) -> int:
        if self._stdin is None:
            raise BrokenPipeError
        try:
            return os.write(self._stdin, data)
        except BlockingIOError:
            await anyio.wait_writable(self._stdin)
            return 0

    def close_stdin(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
            self._timeline.record("runner", "close-stdin", peer=self.actor)

    def close_stdout(self) -> None:
        """Stop reading stdout for good, and lose what is in the pipe."""
        if not self.stdout.ended:
            self.stdout.close()
            self._timeline.record("runner", "close-stdout", peer=self.actor)

    def ignore_stderr(self) -> None:
        """Leave unread what the program writes to stderr from now on."""
        self.stderr.ignore()
        self._timeline.record("runner", "ignore-stderr", peer=self.actor)

    def close_stderr(self) -> None:
        """Stop reading stderr for good, so that a write of the program fails."""
        if not self.stderr.ended:
            self.stderr.close()
            self._timeline.record("runner", "close-stderr", peer=self.actor)

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the program alone or, like Ctrl-C in a terminal, to its whole process group."""
        self.sent_signals.append(number)
        self._timeline.record("runner", "signal", signal.Signals(number).name, peer=self.actor)
        if self.code is None:
            # `launch` made it the leader of a session, and so of a process group.
            (os.killpg if whole_group else os.kill)(self.pid, number)

    async def wait(self, within: float) -> int | None:
        """The exit status, or None if the program still runs after `within` seconds."""
        with anyio.move_on_after(within):
            while self.code is None:  # noqa: ASYNC110 - no event tells of an exit on every platform
                await anyio.sleep(_POLL)
        if self.code is not None:
            self.stdout.drain()
            self.stderr.drain()
        return self.code

    async def finish(self, within: float = 5.0, ends: int | None = None) -> None:
        """End the program: close stdin, wait `within` seconds, send SIGTERM, wait, send SIGKILL. The census ends its children.

        `ends` is a signal to send at once, for a program that does not end with its stdin.
        """
        self.close_stdin()
        if ends is not None and not self.sent_signals:
            self.signal(ends)
        if await self.wait(within) is None:
            waited = f"{within:g} s after its stdin was closed"
            self._timeline.record("runner", "still-running", waited, peer=self.actor)
            self.signal(signal.SIGTERM)
            if await self.wait(2.0) is None:
                self.signal(signal.SIGKILL)
                await self.wait(5.0)

    def release(self) -> None:
        """Close the runner's ends of the pipes and collect the status. Nothing else may be called afterwards."""
        self.close_stdin()
        for capture in (self.stdout, self.stderr):
            capture.drain()
            capture.close()
        if self.code is not None:
            managed_pids.discard(self.pid)


class StdoutListener:
    """Receives stdout as it arrives. The base class ignores it."""

    def on_stdout(self, data: bytes) -> None:
        """A chunk of any size, cut anywhere."""

    def on_stdout_end(self) -> None:
        """The end of stdout."""


def launch(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    *,
    actor: str,
    timeline: Timeline,
    listener: StdoutListener | None = None,
    umask: int = -1,
) -> Launched:
    """Start a program in a session of its own, so that a Ctrl-C at the runner's terminal does not reach it."""
    try:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            umask=umask,
        )
    except OSError as problem:
        raise UsageError(f"cannot start {command[0]}: {problem.strerror or problem}") from problem
    assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
    # Duplicates, because the file objects of Popen would close the descriptors a second time.
    stdin, stdout, stderr = (os.dup(pipe.fileno()) for pipe in (popen.stdin, popen.stdout, popen.stderr))
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        pipe.close()
    timeline.record(actor, "start", f"pid {popen.pid}: {' '.join(command)}")
    return Launched(popen, (stdin, stdout, stderr), actor, timeline, listener or StdoutListener())


def describe_end(code: int | None) -> str:
    """An exit status in words."""
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
