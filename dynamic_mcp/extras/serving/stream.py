"""The events of one stream, and their way to the client.

A stream is the answer to a POST, or what a session gets by its GET. Its events wait here until the client reads them, so a client that
does not read delays no other. A stream of a session keeps the last sent events too. A client whose connection broke comes back with
``Last-Event-ID``, and gets what is left of the events after it (MCP 2025-11-25, basic/transports, "Resumability and Redelivery").
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from dynamic_mcp.extras.serving.history import History, StoredEvent
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.posted import EVENTS, JSON, Accepted, ClientGone
from dynamic_mcp.extras.serving.refused import respond, start
from dynamic_mcp.frontend import backlog

if TYPE_CHECKING:
    from starlette.types import Receive, Send

#: Bytes that go to the library at once. It takes the next ones only when the client has taken most of these.
_PIECE = 1 << 16
#: Milliseconds after which a client may come back.
_RETRY = 1000
HEADERS = {"Content-Type": EVENTS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_PING = b": \n\n"


class Stream:
    """One stream. ``name`` is in the ids of its events."""

    def __init__(
        self,
        name: str,
        history: History | None = None,
        on_change: Callable[[int], None] = lambda added: None,
        max_waiting: int | None = None,
    ) -> None:
        """Without ``history``, nothing can resume the stream. ``on_change`` gets the change of the number of unread bytes.

        ``max_waiting`` bounds what waits while no connection reads.
        """
        self.name = name
        #: bytes of the messages that were not sent as a whole
        self.unread = 0
        #: when the client took a piece last, or when something began to wait for it
        self._moved = asyncio.get_running_loop().time()
        #: the number of the last sent event
        self.sent = 0
        #: whether a client has got an event id
        self.has_ids = False
        self.is_over = False
        self._history = history
        self._on_change = on_change
        self._max_waiting = max_waiting
        self._events: deque[StoredEvent] = deque()
        self._count = 0
        self._changed = asyncio.Event()
        #: those that read, the latest one last; it alone gets the events
        self._readers: list[object] = []

    @property
    def is_resumable(self) -> bool:
        """Whether its events have ids."""
        return self._history is not None

    @property
    def is_finished(self) -> bool:
        """Whether it is over, and no client can resume it."""
        return self.is_over and not self._events and not self.has_ids

    @property
    def stuck(self) -> int:
        """The unread bytes if the client has taken nothing for a long time, else 0."""
        return self.unread if asyncio.get_running_loop().time() - self._moved > backlog.STUCK_AFTER else 0

    def note_taken_piece(self) -> None:
        """Note that the client has taken a piece."""
        self._moved = asyncio.get_running_loop().time()

    def put(self, line: bytes) -> None:
        """Add a message."""
        if self.is_over:
            return
        if not self.unread:
            self.note_taken_piece()
        self._count += 1
        event = StoredEvent(self._count, line.rstrip(b"\n"))
        self._events.append(event)
        self._add_unread(len(event.line))
        while self._max_waiting is not None and not self._readers and self.unread > self._max_waiting:
            self._drop_oldest()
        self._wake()

    def end(self) -> None:
        """Add no further message."""
        self.is_over = True
        self._wake()

    def clear(self) -> None:
        """End, and drop every event."""
        self._drop_up_to(self._count)
        self.sent = self._count
        self._add_unread(-self.unread)
        self.end()

    def forget_oldest(self) -> None:
        """Keep the oldest event no longer."""
        self._events.popleft()

    def has_had(self, number: int) -> bool:
        """Whether there is an event with this number, or was; 0 is the beginning."""
        return 0 <= number <= self._count

    def is_complete(self, number: int) -> bool:
        """Whether a client that has the events up to this one has all of them."""
        return self.is_over and number == self._count

    def has_lost_all(self, after: int) -> bool:
        """Whether events came after this one, and none of them is there or will come."""
        return self.is_over and not self.is_complete(after) and self._next(after) is None

    async def only(self, patience: float | None) -> StoredEvent | None:
        """The first message if it comes in time, and no other one can follow; else None. Without ``patience``, any time is in time."""
        try:
            async with asyncio.timeout(patience):
                while not self._events and not self.is_over:
                    await self._wait()
        except TimeoutError:
            return None
        if not self.is_over or len(self._events) != 1 or self._count != 1:
            return None
        return self._events[0]

    def drop(self, event: StoredEvent) -> None:
        """Take out a message that is sent without an id, so that nothing can resume it."""
        if event.number > self.sent:
            self._note_sent(event, is_kept=False)

    async def events(self, after: int | None, ping: float) -> AsyncIterator[StoredEvent | None]:
        """The events after a number, or those that were not sent, until the end; None after each ``ping`` seconds without one."""
        reader, at = object(), self.sent if after is None else after
        self._readers.append(reader)
        self.note_taken_piece()
        # A connection can break after the client has read an event, and before that is noted.
        while self.sent < at and (event := self._next(self.sent)):
            self._note_sent(event, is_kept=True)
        try:
            while True:
                event = self._next(at) if self._readers[-1] is reader else None
                if event is not None:
                    yield event
                    at = event.number
                    if at > self.sent:
                        self._note_sent(event, is_kept=True)
                elif self.is_over:
                    return
                else:
                    try:
                        async with asyncio.timeout(ping):
                            await self._wait()
                    except TimeoutError:
                        yield None
        finally:
            self._readers.remove(reader)
            # An older connection gets what comes now.
            self._wake()

    def _next(self, at: int) -> StoredEvent | None:
        index = max(at + 1 - self._events[0].number, 0) if self._events else 0
        return self._events[index] if index < len(self._events) else None

    def _note_sent(self, event: StoredEvent, *, is_kept: bool) -> None:
        self.sent = event.number
        self._add_unread(-len(event.line))
        if is_kept and self._history is not None:
            self.has_ids = True
            is_kept = self._history.add(self, event, is_answer=self.is_over and event.number == self._count)
        if not is_kept:
            self._drop_up_to(event.number)

    def _drop_oldest(self) -> None:
        event = self._events[0]
        if event.number > self.sent:
            self.sent = event.number
            self._add_unread(-len(event.line))
        self._drop_up_to(event.number)

    def _drop_up_to(self, number: int) -> None:
        """Drop these events and those before, because the numbers of the others have no gaps."""
        while self._events and self._events[0].number <= number:
            event = self._events.popleft()
            if self._history is not None:
                self._history.remove(self, event)

    async def _wait(self) -> None:
        changed = self._changed
        await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _add_unread(self, added: int) -> None:
        self.unread += added
        self._on_change(added)


async def send_events(
    stream: Stream,
    send: Send,
    headers: dict[str, str],
    limits: ServingLimits,
    *,
    after: int | None = None,
    is_primed: bool = False,
) -> None:
    """Send a response with the events of a stream, until its end.

    ``is_primed`` begins with an event without data, from whose id a client can resume (MCP 2025-11-25, basic/transports).
    """
    await start(send, 200, {**HEADERS, **headers})
    begin = b""
    if stream.is_resumable and is_primed:
        stream.has_ids = True
        number = stream.sent if after is None else after
        begin = b"id: %b-%d\nretry: %d\ndata: \n\n" % (stream.name.encode(), number, _RETRY)
    # The client sees at once that the response has begun.
    await send({"type": "http.response.body", "body": begin or _PING, "more_body": True})
    async for event in stream.events(after, limits.ping):
        if event is None:
            await send({"type": "http.response.body", "body": _PING, "more_body": True})
            continue
        id = b"id: %b-%d\n" % (stream.name.encode(), event.number) if stream.is_resumable else b""
        for piece in _pieces(b"event: message\n" + id + b"data: ", event.line, b"\n\n"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            stream.note_taken_piece()
    await send({"type": "http.response.body", "body": b""})


def _pieces(begin: bytes, line: bytes, end: bytes) -> Iterator[bytes]:
    """A message between two texts, in pieces. A small one is one piece."""
    last = len(line) - len(line) % _PIECE
    if not last:
        yield begin + line + end
        return
    yield begin
    for at in range(0, last, _PIECE):
        yield line[at : at + _PIECE]
    yield line[last:] + end


async def answer_post(
    stream: Stream,
    send: Send,
    headers: dict[str, str],
    limits: ServingLimits,
    accepted: Accepted,
    status_of: Callable[[bytes], int] = lambda line: 200,
    *,
    is_primed: bool = False,
) -> None:
    """Send the answer to a POST: as JSON if it comes soon and alone, else as a stream. A client that takes one form gets that one.

    ``status_of`` gives the status for an answer. A stream cannot have another status than 200, so such an answer is always JSON.
    """
    event = await stream.only(limits.patience if accepted.events else None)
    if event is None and not accepted.events:
        # A request that the client cancelled has no answer.
        await respond(send, 204, headers=headers)
        return
    if event is None or (not accepted.json and status_of(event.line) == 200):
        # Without an answer, there is nothing to resume.
        await send_events(stream, send, headers, limits, is_primed=is_primed and not stream.is_over)
        return
    fields = {**headers, "Content-Type": JSON, "Content-Length": str(len(event.line))}
    try:
        await start(send, status_of(event.line), fields)
        for piece in _pieces(b"", event.line, b""):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            stream.note_taken_piece()
        await send({"type": "http.response.body", "body": b""})
    finally:
        stream.drop(event)


async def until_gone(receive: Receive) -> None:
    """Wait until the client closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, work: Coroutine[Any, Any, None], cut: asyncio.Event) -> None:
    """Run a coroutine, but no longer than the client stays, or until its connections are ``cut``. Raises ClientGone in these cases."""
    running = asyncio.ensure_future(work)
    ends = asyncio.ensure_future(until_gone(receive)), asyncio.ensure_future(cut.wait())
    try:
        await asyncio.wait((running, *ends), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ClientGone
        running.result()
    finally:
        running.cancel()
        for end in ends:
            end.cancel()
        await asyncio.gather(running, *ends, return_exceptions=True)
