"""A started program with its three pipes: bounded capture, a stdin that cannot block, and a certain end.

Whatever the program does (floods its output, never reads, never exits, leaves its pipes to grandchildren),
the event loop goes on, memory stays bounded and `finish` returns in bounded time. Output is taken by
readiness callbacks on our own descriptors instead of the event loop's subprocess support, whose `wait()` also
waits for pipes that grandchildren may hold for ever.

Limits: POSIX (pipes are watched with `loop.add_reader`); runs on anyio's asyncio backend.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from conformance.errors import UsageError, Violation
from conformance.workbench.census import managed_pids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conformance.workbench.timeline import Timeline

MAX_STDOUT = 64 * 1024 * 1024
MAX_STDERR = 8 * 1024 * 1024
_CHUNK = 64 * 1024
_LOOK_AGAIN = 0.01


class Capture:
    """The bytes of one stream: its beginning up to a limit; what comes later is counted and thrown away."""

    def __init__(
        self, fd: int, most: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        self.data = bytearray()
        self.size = 0
        self.ended = False
        self._fd = fd
        self._most = most
        self._on_data = on_data
        self._on_end = on_end
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    @property
    def descriptor(self) -> int | None:
        """Our end of the pipe while it is open."""
        return None if self.ended else self._fd

    @property
    def overflowed(self) -> bool:
        return self.size > self._most

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
        kept = chunk[: max(0, self._most - self.size)]
        self.size += len(chunk)
        self.data += kept
        self._on_data(kept)

    def drain(self) -> None:
        """Take what is already in the pipe, up to the limit: the last words of a program that has gone."""
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
    """What is asked of a child process, as `subprocess.Popen` answers it."""

    pid: int

    def poll(self) -> int | None: ...


class Launched:
    """One running program. Made by `launch`; whoever launches calls `finish`."""

    def __init__(
        self,
        process: ChildProcess,
        streams: tuple[int, int, int],
        actor: str,
        timeline: Timeline,
        listener: StdoutListener,
    ) -> None:
        """`streams`: our ends of its stdin, stdout and stderr, which are closed with `release`."""
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
        """The exit status, negative for a signal, None while it runs."""
        code = self._process.poll()
        if code is not None and self._exited_at is None:
            self._exited_at = time.monotonic()
            self._timeline.record(self.actor, "exit", describe_end(code))
        return code

    @property
    def pipes(self) -> set[str]:
        """What /proc calls the pipes of its stdin and stdout; empty where /proc does not exist."""
        descriptors = self._stdin, self.stdout.descriptor
        links = (Path(f"/proc/self/fd/{fd}") for fd in descriptors if fd is not None)
        return {os.readlink(link) for link in links if link.is_symlink()}

    @property
    def lifetime(self) -> float:
        """Seconds from the start to the exit, or to now."""
        return (self._exited_at or time.monotonic()) - self.started

    async def write(self, data: bytes, within: float = 5.0) -> None:
        """Write everything to stdin. Raises `Violation` when the program takes longer than `within` to read
        it.
        """
        rest = memoryview(data)
        try:
            with anyio.fail_after(within):
                async with self._writing:
                    while rest:
                        rest = rest[await self._write_some(rest) :]
        except TimeoutError:
            seen = f"{len(data) - len(rest)} bytes were read in {within:g} s"
            raise Violation(f"{len(data)} bytes are read from stdin", seen) from None
        except (BrokenPipeError, ConnectionResetError):
            raise Violation("stdin is open", "the implementation has closed its stdin or is gone") from None

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
        """Stop reading stdout for good; what is in the pipe is lost."""
        if not self.stdout.ended:
            self.stdout.close()
            self._timeline.record("runner", "close-stdout", peer=self.actor)

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the program itself, or to all of its group, as Ctrl-C in a terminal does."""
        self.sent_signals.append(number)
        self._timeline.record("runner", "signal", signal.Signals(number).name, peer=self.actor)
        if self.code is None:
            # It was started as the leader of a session, and so of a group.
            (os.killpg if whole_group else os.kill)(self.pid, number)

    async def wait(self, within: float) -> int | None:
        """The exit status, or None when the program still runs after `within` seconds."""
        with anyio.move_on_after(within):
            while self.code is None:  # noqa: ASYNC110 - an exit gives no event that all platforms have
                await anyio.sleep(_LOOK_AGAIN)
        if self.code is not None:
            self.stdout.drain()
            self.stderr.drain()
        return self.code

    async def finish(self, within: float = 5.0) -> None:
        """End the program: close stdin, wait `within` seconds, SIGTERM, wait, SIGKILL. Its children are the
        census's.
        """
        self.close_stdin()
        if await self.wait(within) is None:
            waited = f"{within:g} s after its stdin was closed"
            self._timeline.record("runner", "still-running", waited, peer=self.actor)
            self.signal(signal.SIGTERM)
            if await self.wait(2.0) is None:
                self.signal(signal.SIGKILL)
                await self.wait(5.0)

    def release(self) -> None:
        """Close our ends of the pipes and collect the status; nothing may be asked after this."""
        self.close_stdin()
        for capture in (self.stdout, self.stderr):
            capture.drain()
            capture.close()
        if self.code is not None:
            managed_pids.discard(self.pid)


class StdoutListener:
    """Told about stdout as it comes. The base class does not listen."""

    def on_stdout(self, data: bytes) -> None:
        """A chunk, of any size and cut anywhere."""

    def on_stdout_end(self) -> None:
        """Nothing more will come."""


def launch(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    actor: str,
    timeline: Timeline,
    listener: StdoutListener | None = None,
    umask: int = -1,
) -> Launched:
    """Start a program in a session of its own, so that a Ctrl-C at our terminal does not reach it."""
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
    # Our own copies: the file objects of Popen would close the descriptors a second time.
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
