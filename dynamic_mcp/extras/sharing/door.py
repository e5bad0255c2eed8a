"""The door of a serving process: a unix socket, through which attached ends and ``status`` come in.

A connection begins with one line, the greeting. After its answer, an attached end sends and gets the lines of its client. The end of its
input gives the client a moment for its last answers, and a closed connection ends it at once (``hangup``). The process ends once the
shared servers have outlived the last client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import TaskStatus

from dynamic_mcp import __version__
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.sharing.election import MAX_LOG
from dynamic_mcp.extras.sharing.hangup import watch_hangup
from dynamic_mcp.extras.sharing.place import GREETING, MAX_GREETING, NotServed, Place, check_user, place_of
from dynamic_mcp.extras.sharing.report import report
from dynamic_mcp.frontend import backlog
from dynamic_mcp.frontend.client import FLUSH_GRACE, ClientLink
from dynamic_mcp.frontend.clients import Client, Clients, TooManyClients
from dynamic_mcp.frontend.session import MAX_LINE
from dynamic_mcp.log import log
from dynamic_mcp.process.pipes import LineWriter
from dynamic_mcp.tasks import TaskSet

#: Connections that wait for the loop.
_BACKLOG = 128
#: Connections that may be greeting at the same time.
_MAX_GREETINGS = 64
#: Seconds between two looks at the size of the log.
_LOG_CHECK = 60.0


class SocketDoor:
    """Lets clients in by a unix socket. ``on_listening`` is called once it does, and gives a descriptor (``election.Serve``)."""

    def __init__(self, path: Path, place: Place, linger: float, on_listening: Callable[[], int]) -> None:
        """Raises ConfigError if the place cannot be used."""
        self.linger = linger
        self.path = path
        self._place = place
        self._on_listening = on_listening
        self._listening = place.listen()
        self._inode = _inode(place.socket)
        self._server: asyncio.AbstractServer | None = None
        self._tasks = TaskSet()
        self._greeting: set[_Connection] = set()
        self._open: dict[int, tuple[_Connection, asyncio.Task[None]]] = {}
        self._clients: Clients | None = None
        #: set with the first client, or when there will be none
        self._has_client = asyncio.Event()
        #: set while no connection is greeting
        self._greeted = asyncio.Event()

    async def run(
        self, clients: Clients, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until neither a client nor a shared server is left."""
        self._clients = clients
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: _Connection(self), sock=self._listening, backlog=_BACKLOG
        )
        starter = self._on_listening()
        self._tasks.start(_bound_log())
        task_status.started()
        await self._wait_for_a_client(starter)
        while self._greeting or not clients.idle.is_set():
            await clients.idle.wait()
            if self._greeting:
                await self._greeted.wait()

    async def _wait_for_a_client(self, starter: int) -> None:
        """Wait for the first client, ``GREETING`` seconds at most, and no longer than the starter lives."""
        stop_watch = watch_hangup(starter, self._has_client.set)
        try:
            with anyio.move_on_after(GREETING):
                await self._has_client.wait()
        finally:
            stop_watch()
            os.close(starter)

    async def close(self) -> None:
        """Take the socket away, and end the connections once their calls have ended, or a few seconds are over."""
        server, self._server = self._server, None
        if server is not None:
            # Another process may use the path as soon as this one does not listen, or after somebody removed the file.
            if _inode(self._place.socket) == self._inode:
                self._place.socket.unlink(missing_ok=True)
            server.close()
        for connection in list(self._greeting):
            connection.abort()
        tasks = [task for _, task in self._open.values()]
        for connection, _ in self._open.values():
            connection.link.end()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._tasks.close()

    # For the connections

    def greets(self, connection: _Connection) -> bool:
        """Note a new connection; false if too many are greeting."""
        if len(self._greeting) >= _MAX_GREETINGS:
            return False
        self._greeting.add(connection)
        self._greeted.clear()
        return True

    def note_greeting_end(self, connection: _Connection) -> None:
        """Note the end of a greeting, or of its connection."""
        self._greeting.discard(connection)
        if not self._greeting:
            self._greeted.set()

    def answer(self, connection: _Connection, greeting: Mapping[str, object]) -> Mapping[str, object]:
        """Take in a client, or report; the answer."""
        assert self._clients is not None
        match greeting:
            case {"want": "status"}:
                return {**report(self.path, self._clients)}
            case {"want": "move", "to": str(name)}:
                return {"moved": self._move(name)}
            case {"want": "serve", "folder": str(folder), "pid": int(pid)}:
                try:
                    client = self._clients.open(
                        connection.send, outlet=connection, folder=Path(folder), max_message=MAX_LINE
                    )
                except TooManyClients as error:
                    return {"refused": str(error)}
                self._has_client.set()
                client.origin = f"pid {pid}"
                task = self._tasks.start(self._serve(connection, client))
                self._open[client.number] = connection, task
                return {"pid": os.getpid(), "version": __version__}
        return {"refused": "the greeting cannot be understood"}

    def _move(self, name: str) -> bool:
        """Move the socket to the place of this name if it is that of the configuration now. The other end has the lock of that place."""
        try:
            now = place_of(self.path, os.environ)
            if now.name != name or _inode(self._place.socket) != self._inode:
                return False
            self._place.socket.rename(now.socket)
        except (ConfigError, OSError):
            return False
        self._place = now
        return True

    async def _serve(self, connection: _Connection, client: Client) -> None:
        link = connection.link
        connection.client = client
        link.begin(client.router)
        connection.begin()
        try:
            await link.wait_input_closed()
            await client.finish(link.wait_output_closed())
        finally:
            connection.stop_reading()
            await client.close()
            del self._open[client.number]
            await link.close()


class _Link(ClientLink):
    """A link whose two directions are one socket."""

    def attach(self, transport: asyncio.Transport) -> None:
        """Read from, and write to, this transport."""
        self._reader, self._writer = transport, LineWriter(transport)

    async def close(self) -> None:
        """Close the connection, after the client has read its last answers or ``FLUSH_GRACE`` is over."""
        if self._reading_large is not None:
            self._reading_large.cancel()
        if self._writer is not None:
            self._writer.flush()
            self._writer.transport.close()
            with anyio.move_on_after(FLUSH_GRACE, shield=True):
                await self._flushed.wait()
            self._writer.transport.abort()


class _Connection(asyncio.Protocol):
    """One connection: its greeting, then the lines of its client."""

    def __init__(self, door: SocketDoor) -> None:
        self.client: Client | None = None
        self.link = _Link(-1, -1, self._on_pause)
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._before = bytearray()
        self._is_serving = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._stop_watch: Callable[[], None] = lambda: None
        #: bytes that were written to the client, those of them that it had taken when last asked, and when it took some
        self._written = self._taken = 0
        self._moved = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are no subclass.
        self._transport = cast("asyncio.Transport", transport)
        try:
            check_user(transport.get_extra_info("socket"))
        except NotServed as refusal:
            log.warning("a connection was refused: %s", refusal)
            self.abort()
            return
        if not self._door.greets(self):
            self.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(GREETING, self.abort)

    def data_received(self, data: bytes) -> None:
        if self._is_serving:
            self.link.feed(data)
            return
        self._before += data
        if self.client is None and self._timer is not None:
            self._greet()

    def _greet(self) -> None:
        line, end, rest = self._before.partition(b"\n")
        if not end:
            if len(line) > MAX_GREETING:
                self.abort()
            return
        self._end_greeting()
        self._before = rest
        try:
            greeting = json.loads(line)
        except (ValueError, RecursionError):
            greeting = None
        answer = self._door.answer(self, greeting if isinstance(greeting, dict) else {})
        assert self._transport is not None
        self._transport.write(json.dumps(answer).encode() + b"\n")
        if "pid" not in answer or "clients" in answer:
            self._transport.close()

    def begin(self) -> None:
        """Pass on what comes, and what has come since the greeting."""
        assert self._transport is not None
        self.link.attach(self._transport)
        self._is_serving = True
        if self._before:
            self.link.feed(bytes(self._before))
            self._before.clear()
        if self._has_ended:
            self.link.feed_eof()

    def stop_reading(self) -> None:
        """Take no further line."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._is_serving:
            self.link.feed_eof()
        if self._timer is not None or self._transport is None:
            return False
        # The other direction stays open for the last answers, unless the client is dead.
        self._stop_watch = watch_hangup(self._transport.get_extra_info("socket").fileno(), self.abort)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_greeting()
        self._stop_watch()
        self._has_ended = True
        self.link.input_closed()
        self.link.output_closed()

    def pause_writing(self) -> None:
        self.link.set_paused(True)

    def resume_writing(self) -> None:
        self.link.set_paused(False)

    def send(self, line: bytes) -> None:
        """Write one line to the client."""
        if not self.unread():
            self._moved = asyncio.get_running_loop().time()
        self._written += len(line)
        self.link.send(line)
        if self.client is not None and self.client.session.is_stalled:
            self.client.note_waiting()

    # The way to the client (``frontend.backlog.Outlet``)

    def unread(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def stuck(self) -> int:
        now, unread = asyncio.get_running_loop().time(), self.unread()
        if self._written - unread != self._taken:
            self._taken, self._moved = self._written - unread, now
        return unread if now - self._moved > backlog.STUCK_AFTER else 0

    def cut(self, reason: str) -> None:
        assert self.client is not None
        log.warning("client %d %s, so its connection ends", self.client.number, reason)
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._end_greeting()
        self._stop_watch()
        if self._transport is not None:
            self._transport.abort()

    def _on_pause(self, paused: bool) -> None:
        if self.client is not None:
            self.client.set_paused(paused)
            if paused:
                self.client.note_waiting()

    def _end_greeting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._door.note_greeting_end(self)


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


async def _bound_log() -> None:
    """Begin the log on stderr anew whenever it has become too long."""
    while True:
        await anyio.sleep(_LOG_CHECK)
        with contextlib.suppress(OSError):
            if os.fstat(2).st_size > MAX_LOG:
                os.ftruncate(2, 0)
