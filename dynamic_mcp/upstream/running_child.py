"""A child process with its pipes and its peer: one connection of an upstream on stdio."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from typing import cast

import anyio

from dynamic_mcp.config import defects
from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.log import report_bug
from dynamic_mcp.process import scripts
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.pipes import LineWriter, enlarge_pipe, unread_bytes
from dynamic_mcp.process.stuck import wait_stuck
from dynamic_mcp.protocol.jsonrpc import Outgoing, format_size
from dynamic_mcp.protocol.lines import ENDLESS_FACTOR, LineSplitter
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.base import Events
from dynamic_mcp.upstream.flow import LineFlow, Owed
from dynamic_mcp.upstream.vital_signs import ChildWatch

#: A buffer with fewer bytes counts as read.
_FEW_BYTES = 1 << 16
#: Seconds to wait for the exit of a child that closed its stdout, so that the error can say how the child ended.
_EXIT_GRACE = 0.25
#: Seconds for its last messages, which take several turns of the loop if they are large.
_LAST_MESSAGES = 5.0


class RunningChild(asyncio.Protocol):
    """One child, its two pipes, and the peer that uses them."""

    def __init__(self, transport: StdioTransport, launch: Launch, events: Events, guard: Guard) -> None:
        """Start the child. Raises UpstreamFailed with the reason of the operating system."""
        self._max_size = transport.max_message_size
        self._explain = launch.explain
        self.peer = Peer(
            self._write,
            events.on_notification,
            events.on_request,
            max_size=self._max_size,
            on_junk=self._misbehaved,
            ask=lambda timeout: self.watch.ask(timeout),
            on_oddity=events.on_oddity,
        )
        #: set once the connection is lost, and why
        self.lost = asyncio.Event()
        self.loss = UpstreamGone("the connection was closed")
        self._splitter = LineSplitter(self._max_size, self.peer.receive_oversized)
        self.flow = LineFlow(
            self._splitter,
            self.peer.receive,
            self.peer.receive_slowly,
            self.peer.count_junk,
            self._cannot_read,
        )
        #: the answers among the bytes that the child has not read
        self.owed = Owed(lambda: min(self._answer_bytes, self.unread), self.flow.holds, self._misbehaved)
        self._answer_bytes = 0
        #: why the proxy stopped reading; None as long as it reads
        self._fault: str | None = None
        self._writer: LineWriter | None = None
        self._reader: asyncio.BaseTransport | None = None
        try:
            self._child = Child(launch, guard, transport.hidden())
        except OSError as error:
            raise UpstreamFailed(_why_not_started(launch, error)) from None
        except subprocess.SubprocessError:
            raise UpstreamFailed("its security.limits are refused by the operating system") from None
        except ValueError:
            defect = next(defects.of_child(transport), "environment has a variable that no program can get")
            raise UpstreamFailed(f"its {defect}") from None
        self.watch = ChildWatch(
            self._child,
            self.peer,
            self.flow.holds,
            lambda: self.unread,
            lambda: self.flow.has_waiting or bool(unread_bytes(self._child.stdout)),
            lambda state: self._misbehaved(" and ".join(filter(None, (self._exit(), state)))),
        )

    async def attach(self) -> None:
        """Connect the child's pipes with the loop."""
        loop = asyncio.get_running_loop()
        enlarge_pipe(self._child.stdin)
        enlarge_pipe(self._child.stdout)
        # If a cancellation came in between, the loop would close a pipe that its file object still believes open.
        with anyio.CancelScope(shield=True):
            writer, _ = await loop.connect_write_pipe(
                lambda: _Input(self.owed, self.watch.input_lost), self._child.stdin
            )
            self._writer = LineWriter(writer)
            await loop.connect_read_pipe(lambda: self, self._child.stdout)

    @property
    def process_group(self) -> int:
        """The process group of the child."""
        return self._child.pid

    @property
    def has_read_all(self) -> bool:
        """Whether the child is known to have read everything that the proxy sent."""
        return unread_bytes(self._child.stdin) == 0

    async def fail_if_stuck(self, *, reads: bool) -> None:
        """Fail all requests once the child hangs (``stuck.wait_stuck``)."""
        await wait_stuck(self._child, reads=reads)
        self.peer.close(UpstreamGone("the server process hangs since server/discover", self.stderr_tail()))

    @property
    def unread(self) -> int:
        """Bytes that the child has not read."""
        return 0 if self._writer is None else self._writer.unread

    def stderr_tail(self) -> str:
        return self._child.stderr_tail.text() if self._child.stderr_tail is not None else ""

    async def close(self) -> None:
        """End the child. A second call does nothing."""
        self.peer.close(self.loss)
        self.owed.close()
        self.watch.close()
        try:
            if self._writer is not None:
                # ``abort``, because with ``close`` unread bytes would keep stdin open. Asyncio's loop cannot abort a transport that
                # is closing because the child is gone.
                if not self._writer.transport.is_closing():
                    self._writer.transport.abort()
            elif self._child.stdin is not None:
                self._child.stdin.close()
        finally:
            await self._child.terminate()
        if self._reader is not None:
            self.flow.close()
        elif self._child.stdout is not None:
            self._child.stdout.close()

    def _write(self, message: Outgoing) -> None:
        if self._writer is None:
            return
        if message.method is not None:
            self._writer.write(message.line)
            return
        # A child that reads its answers has hardly any unread ones; requests may wait for it, but have their own bound.
        if self._writer.unread < _FEW_BYTES:
            self._answer_bytes = 0
        self._writer.write(message.line)
        self._answer_bytes += len(message.line)
        self.owed.grew()

    def _exit(self) -> str:
        """How the child exited; empty while it lives."""
        return f"ended ({self._explain(self._child.status())})" if self._child.has_exited else ""

    def _misbehaved(self, fault: str) -> None:
        """Stop reading, because the server process misbehaves; ``fault`` says how."""
        self._stop_reading(f"the server process {fault}")

    def _cannot_read(self, error: Exception) -> None:
        """Stop reading after an unexpected error, such as a lack of memory. The loop would only log the error."""
        bug = report_bug(f"the output of the child {self._child.pid}", error)
        self._stop_reading(f"its output could not be read: {bug}")

    def _stop_reading(self, reason: str) -> None:
        """Close the child's stdout, so that the connection is lost for this reason."""
        if self._fault is None:
            self._fault = reason
            self.flow.close()

    # The child's stdout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._reader = transport
        self.flow.connect(cast("asyncio.ReadTransport", transport))

    def data_received(self, data: bytes) -> None:
        self.flow.add(data)
        if self._splitter.is_endless:
            size = format_size(ENDLESS_FACTOR * self._max_size)
            self._misbehaved(f"writes an endless message, of more than {size}")

    def eof_received(self) -> None:
        # The last message needs no line end.
        self.flow.add(b"\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, MemoryError):
            # uvloop had no memory for the next chunk.
            self._cannot_read(exc)
        # The attribute keeps the task from being garbage-collected before it runs.
        self._reporting = asyncio.get_running_loop().create_task(self._report_loss())

    async def _report_loss(self) -> None:
        with anyio.move_on_after(_EXIT_GRACE):
            await self._child.wait_left()
        with anyio.move_on_after(_LAST_MESSAGES):
            await self.flow.passed()
        how = self._fault or f"the server process {self._exit() or 'closed its output'}"
        self.owed.close()
        self.loss = UpstreamGone(how, self.stderr_tail())
        self.peer.close(self.loss)
        self.lost.set()


class _Input(asyncio.BaseProtocol):
    """Notices that the child reads its stdin, and that it closes it."""

    def __init__(self, owed: Owed, on_lost: Callable[[], None]) -> None:
        self._owed = owed
        self._on_lost = on_lost

    def resume_writing(self) -> None:
        self._owed.shrank()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owed.shrank()
        self._on_lost()


def _why_not_started(launch: Launch, error: OSError) -> str:
    """What is wrong with a command that the system does not start."""
    reason = error.strerror or "operating system error"
    # The C library names no file, so this is what Python reports for a folder that cannot be entered.
    if launch.cwd is not None and (error.filename == launch.cwd or not os.path.isdir(launch.cwd)):
        return f"its cwd {launch.cwd!r} cannot be used: {reason}"
    program = launch.argv[0]
    if isinstance(error, FileNotFoundError):
        interpreter = scripts.missing_interpreter(program, launch.environment, launch.cwd)
        if interpreter is not None:
            reason = f"its first line names the interpreter {interpreter!r}, which does not exist"
        elif len(program.split()) > 1:
            reason += "; 'command' is the program alone, and its arguments belong into 'args'"
    return f"{launch.program} {program!r} could not be started: {reason}"
