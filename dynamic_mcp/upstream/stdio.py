"""An upstream that is a child process, spoken to by lines on its standard streams.

After ``close`` returned, nothing of the child's process group is alive. While the upstream is connected, answers are matched by id
only, and whatever else the child prints to stdout is dropped. Its stderr is discarded (SECURITY.md: "Stderr redirected to null").
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.process.child import Child
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Handshake, OnNotification

# A larger pipe than the 64 KiB that Linux gives by default saves a switch between processes for each 64 KiB of a large result.
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20


class StdioUpstream:
    """See the module. Built by ``connect``."""

    modern: bool = False

    def __init__(self, transport: StdioTransport, on_notification: OnNotification) -> None:
        """Start the child. Raises UpstreamFailed with the operating system's reason."""
        self.capabilities: dict[str, Raw] = {}
        self._writer: asyncio.WriteTransport | None = None
        self._reader: asyncio.ReadTransport | None = None
        self._ended = asyncio.Event()
        self._peer = Peer(self._write, on_notification)
        environment = {**os.environ, **{name: value.reveal() for name, value in transport.env}}
        try:
            self._child = Child([transport.command, *transport.args], environment)
        except OSError as error:
            raise UpstreamFailed(
                f"the command {transport.command!r} could not be started: {error.strerror or 'operating system error'}"
            ) from None
        except ValueError:
            raise UpstreamFailed("its command, args or env hold a NUL character or an invalid name") from None

    async def open(self, timeout: float, *, skip_probe: bool) -> None:
        """Attach the pipes and do the handshake. Raises UpstreamError."""
        loop = asyncio.get_running_loop()
        _enlarge(self._child.stdin)
        _enlarge(self._child.stdout)
        # A cancelled attachment leaves a pipe that its loop has closed and its file object believes open; it takes no time.
        with anyio.CancelScope(shield=True):
            self._writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._child.stdin)
            self._reader, _ = await loop.connect_read_pipe(lambda: _Lines(self), self._child.stdout)
        agreed = await self._probe() if not skip_probe else None
        self.modern = agreed is not None
        if agreed is None:
            agreed = await handshake.initialize(self._peer, timeout)
        self.capabilities = agreed.capabilities

    async def _probe(self) -> Handshake | None:
        try:
            return await handshake.probe(self._peer)
        except UpstreamGone:
            raise _DiedOnProbe from None

    async def request(self, method: str, params: bytes, timeout: float) -> bytes:
        """See ``Upstream``."""
        return await self._peer.request(method, params, timeout)

    async def lost(self) -> str:
        """See ``Upstream``."""
        await self._ended.wait()
        return "the process closed its output" if not self._child.has_left else "the process exited"

    async def close(self) -> None:
        """See ``Upstream``: stdin is closed first, then the whole group is ended and reaped."""
        self._peer.close(UpstreamGone("the connection was closed"))
        if self._writer is not None:
            # abort, not close: bytes that the child does not read must not keep its stdin open.
            self._writer.abort()
        elif self._child.stdin is not None:
            self._child.stdin.close()
        await self._child.terminate()
        if self._reader is not None:
            self._reader.close()
        elif self._child.stdout is not None:
            self._child.stdout.close()

    @property
    def exit_status(self) -> str:
        """How the process ended; after ``close``."""
        return self._child.status()

    def received(self, line: bytes) -> None:
        """One line from the child."""
        self._peer.receive(line)

    def ended(self) -> None:
        """The child closed its stdout: nothing can be answered any more."""
        self._peer.close(UpstreamGone("the server process ended or closed its output"))
        self._ended.set()

    def _write(self, line: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line)


class _Lines(asyncio.Protocol):
    """Feeds the child's stdout to its upstream, line by line."""

    def __init__(self, upstream: StdioUpstream) -> None:
        self._upstream = upstream
        self._splitter = jsonrpc.LineSplitter()

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._upstream.received(line)

    def eof_received(self) -> None:
        if rest := self._splitter.rest():
            self._upstream.received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.ended()


class _DiedOnProbe(UpstreamGone):
    """The child ended before it answered the probe."""


async def connect(
    transport: StdioTransport, on_notification: OnNotification, timeout: float, *, skip_probe: bool
) -> StdioUpstream:
    """Start the child and do the handshake; whatever goes wrong, no process is left. Raises UpstreamError.

    A child that ends while it is being probed is started again without the probe: servers built on older SDKs exit on
    anything that is not ``initialize``.
    """
    upstream = StdioUpstream(transport, on_notification)
    try:
        await upstream.open(timeout, skip_probe=skip_probe)
    except _DiedOnProbe:
        await upstream.close()
        return await connect(transport, on_notification, timeout, skip_probe=True)
    except UpstreamGone as error:
        await upstream.close()
        raise UpstreamGone(f"{error} ({upstream.exit_status})") from None
    except BaseException:
        await upstream.close()
        raise
    return upstream


def stamped(params: bytes) -> bytes:
    """``params`` with the ``_meta`` that a modern upstream demands, beside what ``_meta`` holds already."""
    members = msgspec.json.decode(params or b"{}", type=dict[str, Raw])
    meta = msgspec.json.decode(members.get("_meta", Raw(b"{}")), type=dict[str, Raw])
    stamp = {name: Raw(msgspec.json.encode(value)) for name, value in handshake.MODERN_STAMP.items()}
    members["_meta"] = Raw(msgspec.json.encode({**meta, **stamp}))
    return msgspec.json.encode(members)


def _enlarge(pipe: object) -> None:
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[attr-defined]
