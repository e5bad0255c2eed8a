"""The sessions of handshake clients, each with a client of the core.

A session begins with ``initialize`` and ends by ``DELETE``, with the proxy, or when it has had no connection for a while. A broken
connection does not end it, nor the requests in flight (MCP 2025-11-25, basic/transports).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import anyio

from dynamic_mcp.extras.serving.history import History
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.extras.serving.stream import Stream
from dynamic_mcp.frontend import backlog
from dynamic_mcp.frontend.clients import Client, Clients, TooManyClients
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR
from dynamic_mcp.tasks import TaskSet

#: Bytes of randomness in the id of a session.
_ID_BYTES = 24
#: Seconds between two looks for unused sessions.
_LOOK = 10.0
#: The stream for messages outside of requests. Requests begin with stream 1.
_GENERAL = "0"


class ServedSession:
    """One session."""

    def __init__(self, clients: Clients, limits: ServingLimits, tasks: TaskSet, origin: str) -> None:
        """Raises TooManyClients."""
        self.id = secrets.token_urlsafe(_ID_BYTES)
        self.limits = limits
        self.is_over = False
        #: set once the connections have to end, because the client does not read
        self.was_cut = asyncio.Event()
        #: HTTP requests that are being answered
        self.connections = 0
        self.last_used = asyncio.get_running_loop().time()
        self._history = History(limits.max_replay)
        self._tasks = tasks
        self._count = 0
        self._unread = 0
        #: the streams of requests by their names, while they can be resumed
        self._streams: dict[str, Stream] = {}
        #: the names of those whose answers are there and whose connections are not, in the order in which they ended
        self._kept: deque[str] = deque()
        #: the names of those in flight that have lost their connections
        self._lost: set[str] = set()
        #: the streams of requests in flight, with the requests that have no answer yet
        self._open: dict[str, set[object]] = {}
        self._is_paused = False
        self.general = Stream(_GENERAL, self._history, self._on_change, limits.max_backlog)
        self.client: Client = clients.open(self.general.put, outlet=self)
        self.client.origin = origin

    @property
    def is_primed(self) -> bool:
        """Whether the client knows events without data. Clients of older revisions read every event as a message."""
        return (self.client.session.version or "") >= "2025-11-25"

    @contextmanager
    def streaming(self, requests: Collection[object]) -> Iterator[Stream]:
        """A context with a stream for the answers to these requests. A client can resume it later.

        Raises RefusedRequest if there are too many.
        """
        if len(self._open) >= self.limits.max_streams:
            text = f"the session has {self.limits.max_streams} requests in flight already"
            raise RefusedRequest(429, text, headers={"Retry-After": "1"})
        self._count += 1
        name = str(self._count)
        self._streams[name] = stream = Stream(name, self._history, self._on_change)
        self._open[name] = set(requests)
        try:
            yield stream
        finally:
            if stream.is_finished or self.is_over:
                self._drop(name)
            elif name in self._open:
                self._lost.add(name)
            else:
                self._keep(name)

    def end(self, stream: Stream) -> None:
        """End a stream, because the requests have their answers."""
        self._open.pop(stream.name, None)
        stream.end()
        if stream.name in self._lost:
            self._lost.remove(stream.name)
            self._keep(stream.name)

    def cancelled(self, request: object) -> None:
        """End the stream of a request that the client cancelled, because it gets no answer."""
        for name, requests in list(self._open.items()):
            requests.discard(request)
            if not requests:
                self.end(self._streams[name])

    def find(self, event_id: str) -> tuple[Stream, int]:
        """The stream of an event, and its number. Raises RefusedRequest if there is no such event, or if the answer is lost."""
        name, _, digits = event_id.partition("-")
        stream = self.general if name == _GENERAL else self._streams.get(name)
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else -1
        if stream is None or not stream.has_had(number):
            raise RefusedRequest(400, "Last-Event-ID names an event that this session does not have")
        if stream.has_lost_all(number):
            raise RefusedRequest(400, "the session does not have the answer any more")
        return stream, number

    async def close(self) -> None:
        """Cancel the calls in flight, and end the streams."""
        self.is_over = True
        await self.client.close()
        self.general.end()
        for name in list(self._streams):
            self.end(self._streams[name])

    async def finish(self) -> None:
        """Answer the requests in flight, within some seconds, and close."""
        await self.client.finish(anyio.sleep_forever())
        await self.close()

    # The way to the client (``frontend.backlog.Outlet``)

    def unread(self) -> int:
        return 0 if self.is_over else self._unread

    def stuck(self) -> int:
        return 0 if self.is_over else sum(stream.stuck for stream in (self.general, *self._streams.values()))

    def cut(self, reason: str) -> None:
        log.warning("client %d %s, so its session ends", self.client.number, reason)
        self.is_over = True
        self.was_cut.set()
        for stream in (self.general, *self._streams.values()):
            stream.clear()
        self._tasks.start(self.close())

    def _keep(self, name: str) -> None:
        """Keep a stream that has ended for a client that resumes it, for a while."""
        self._kept.append(name)
        asyncio.get_running_loop().call_later(self.limits.resume_time, self._expire, name)
        while len(self._kept) > self.limits.max_kept:
            self._drop(self._kept.popleft())

    def _expire(self, name: str) -> None:
        """Drop a stream that no client has resumed to its end."""
        if name in self._streams:
            self._kept.remove(name)
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._open.pop(name, None)
        self._lost.discard(name)
        if (stream := self._streams.pop(name, None)) is not None:
            stream.clear()

    def _on_change(self, added: int) -> None:
        """Note that more or fewer bytes wait for the client."""
        self._unread += added
        if self.is_over:
            return
        if self._is_paused != (self._unread > self.limits.unread):
            self._is_paused = not self._is_paused
            self.client.set_paused(self._is_paused)
        if added > 0 and self._is_paused:
            self.client.note_waiting()


class Sessions:
    """All sessions by their ids."""

    def __init__(self, clients: Clients, limits: ServingLimits) -> None:
        self.clients = clients
        self._limits = limits
        self._tasks = TaskSet()
        self._sessions: dict[str, ServedSession] = {}

    def begin(self, origin: str) -> ServedSession:
        """Begin a session. Raises RefusedRequest if there are too many."""
        try:
            if len(self._sessions) >= self._limits.max_sessions and not self._make_room():
                raise TooManyClients(f"the proxy has {self._limits.max_sessions} sessions already")
            session = ServedSession(self.clients, self._limits, self._tasks, origin)
        except TooManyClients as error:
            raise RefusedRequest(503, str(error), INTERNAL_ERROR, headers={"Retry-After": "10"}) from None
        self._sessions[session.id] = session
        return session

    def of(self, id: str | None) -> ServedSession:
        """The session with this id. Raises RefusedRequest."""
        if id is None:
            raise RefusedRequest(
                400, f"Mcp-Session-Id is missing; begin with initialize, or with a request of {era.MODERN}"
            )
        session = self._sessions.get(id)
        if session is None or session.is_over:
            self._sessions.pop(id, None)
            raise RefusedRequest(404, "the session does not exist or has ended; begin with initialize")
        session.last_used = asyncio.get_running_loop().time()
        return session

    async def end(self, session: ServedSession) -> None:
        """End a session. Its client has a while to read what is on its way."""
        self._sessions.pop(session.id, None)
        await session.close()
        if session.connections:
            asyncio.get_running_loop().call_later(backlog.STUCK_AFTER, session.was_cut.set)

    async def run(self) -> None:
        """End unused sessions, until cancelled."""
        while True:
            await asyncio.sleep(min(_LOOK, self._limits.idle / 2))
            for session in self._unused(self._limits.idle):
                if not session.is_over:
                    log.info(
                        "session %d ends, because it had no connection for a while", session.client.number
                    )
                await self.end(session)

    async def close(self) -> None:
        """Answer the requests in flight, within some seconds, and end all sessions."""
        await asyncio.gather(*(session.finish() for session in self._sessions.values()))
        self._sessions.clear()
        await self._tasks.close()

    def _make_room(self) -> bool:
        """End the session that has been unused for the longest time, if there is one."""
        for session in self._unused(self._limits.idle_enough)[:1]:
            del self._sessions[session.id]
            self._tasks.start(session.close())
            return True
        return False

    def _unused(self, seconds: float) -> list[ServedSession]:
        """The sessions that are over, or had neither a connection nor a call for so long; those first that have been unused the longest."""
        before = asyncio.get_running_loop().time() - seconds
        found = [
            session
            for session in self._sessions.values()
            if session.is_over
            or (session.last_used < before and not session.connections and not session.client.relay.in_flight)
        ]
        return sorted(found, key=lambda session: session.last_used)
