"""What the client transports over HTTP share: readiness, tasks, bounded bodies, and why a request has no answer.

The client follows no redirect, keeps no cookie and uses no HTTP proxy. It reads at most `MAX_RECEIVED` bytes in all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

from conformance.errors import ConformanceError, HarnessError, NotApplicable, Violation
from conformance.model.client_table import PORT
from conformance.workbench.deep_json import decode
from conformance.workbench.launched import MAX_STDOUT
from conformance.workbench.timeline import shorten
from conformance.workbench.transports.base import Failure
from conformance.workbench.transports.events import EventDecoder, StreamTooLarge
from conformance.workbench.transports.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from conformance.model.client_table import ClientTable
    from conformance.workbench.inbox import Inbox, RequestId
    from conformance.workbench.launched import Launched
    from conformance.workbench.timeline import Timeline
    from conformance.workbench.transcript import Json
    from conformance.workbench.transports.events import StreamedEvent

MAX_RECEIVED = MAX_STDOUT
_CHUNK = 64 * 1024
#: seconds for the program to take a connection
_CONNECT = 5.0
#: what the loss of a connection, and a response that is not HTTP, raise
LOST = (aiohttp.ClientError, OSError, StreamTooLarge)


@dataclass(eq=False)
class Post:
    """One message on its way to the program."""

    line: bytes
    message: Json
    #: the program has the bytes, as far as the system knows
    written: asyncio.Event = field(default_factory=asyncio.Event)
    #: the response has begun
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    #: answers to this request so far
    answers: int = 0

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def method(self) -> str:
        return str(self.message.get("method"))

    @property
    def is_request(self) -> bool:
        return "method" in self.message and "id" in self.message

    @property
    def name(self) -> str:
        return f"{self.method} (id {json.dumps(self.id)})" if self.is_request else self.method


def read_message(line: bytes, transport: str) -> Json:
    """The message of a line; only its id and method if it is nested too deeply for Python.

    Raises `NotApplicable` for a line that is no object.
    """
    try:
        message = decode(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise NotApplicable(
            f"the client reaches the program over {transport}, where each request carries one JSON-RPC message, "
            f"and the check sends another line: {shorten(line.decode(errors='replace'), 60)}"
        )
    return message


class ListeningTransport:
    """A client of a program that listens on a port of this machine."""

    name = "HTTP"
    on_stdio = False

    def __init__(
        self,
        table: ClientTable,
        port: int,
        starts_within: float,
        launched: Launched,
        inbox: Inbox,
        timeline: Timeline,
    ) -> None:
        #: what the transport does not allow, in the order of arrival
        self.problems: list[Violation] = []
        #: as in `ClientTransport`
        self.deviations: list[Violation] = []
        self._table = table
        self.port: int | None = port
        self._url = table.url.replace(PORT, str(port))
        self._starts_within = starts_within
        self._launched = launched
        self._readiness = Readiness(self._url, table, launched)
        self._inbox = inbox
        self._timeline = timeline
        self._client: aiohttp.ClientSession | None = None
        self._preparing = anyio.Lock()
        self._is_closed = False
        self._reads = asyncio.Event()
        self._reads.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[tuple[type, Any], Failure] = {}
        self._faults: list[BaseException] = []
        self._received = 0

    # The interface of `ClientTransport`

    async def send(self, data: bytes, within: float) -> None:
        """Send one message in a POST of its own, as soon as the program listens.

        For a request, returns when the program can read it; for others, when the response begins. Raises `Violation` if that takes
        longer than `within` seconds, and `NotApplicable` for a line that is no message.
        """
        line = data.rstrip(b"\n")
        post = Post(line, read_message(line, self.name))
        if self._is_closed:
            raise Violation("the session is open", "the check has ended it")
        await self.prepare()
        try:
            with anyio.fail_after(within):
                await self.deliver(post)
        except TimeoutError:
            raise Violation(
                f"the program takes {post.name}", f"no response in {within:g} s", timed=True
            ) from None

    def failure(self, id: RequestId) -> Failure | None:
        """As in `ClientTransport`."""
        if self._client is None:
            missing = self._readiness.missing
            why = f"it does not listen at {self._url}: {missing}" if missing else "its session does not begin"
            return Failure(why, timed=True)
        return self._failures.get((type(id), id))

    async def end(self) -> None:
        """End the session, and send the program the signal that ends it."""
        await self.close()
        self._launched.signal(self._table.end_signal)

    async def close(self) -> None:
        """End the session, and close every connection."""
        await self._close(ends_session=True)

    async def _close(self, *, ends_session: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._reads.set()
        if ends_session and self._client is not None and self._launched.code is None:
            await self.end_session(self._client)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def vanish(self) -> None:
        """Break every connection, and do not end the session."""
        await self._close(ends_session=False)

    def ignore(self) -> None:
        """Leave unread what comes on every connection from now on."""
        self._reads.clear()

    def judge(self) -> None:
        """As in `ClientTransport`."""
        for fault in self._faults:
            raise HarnessError(f"the client over {self.name} broke: {fault!r}") from fault
        for problem in self.problems:
            raise problem

    # For the transports

    async def deliver(self, post: Post) -> None:
        """Send a message, and return as `send` says."""
        raise NotImplementedError

    async def open(self, client: aiohttp.ClientSession) -> None:
        """What precedes the first message, after the program listens. Raises `Violation`."""

    async def end_session(self, client: aiohttp.ClientSession) -> None:
        """Tell the program that the session has ended."""

    async def prepare(self) -> None:
        """Wait until the program listens, and open the connection that the transport needs. Raises `Violation`."""
        async with self._preparing:
            if self._client is not None:
                return
            await self._readiness.wait(self._starts_within)
            traces = aiohttp.TraceConfig()
            traces.on_request_chunk_sent.append(_note_written)
            client = aiohttp.ClientSession(
                # Each POST has a connection of its own, because a server may close an idle one under a POST.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", **self._table.headers},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
                trace_configs=[traces],
            )
            expected = f"a session begins within {self._starts_within:g} s"
            try:
                with anyio.fail_after(self._starts_within):
                    await self.open(client)
            except TimeoutError:
                await client.close()
                raise Violation(expected, "no response", timed=True) from None
            except BaseException:
                await client.close()
                raise
            self._client = client

    @property
    def client(self) -> aiohttp.ClientSession:
        assert self._client is not None
        return self._client

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run this in the background until it ends or the transport closes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._faults.append(problem)

    async def until(self, event: asyncio.Event, task: asyncio.Task[None], within: float = math.inf) -> None:
        """Wait for the event, for the end of the task that should set it, or so many seconds."""
        waiting = asyncio.create_task(event.wait())
        try:
            with anyio.move_on_after(within):
                await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def fail(self, post: Post, why: str, *, lost: bool = False) -> None:
        """No answer to this request can come any more."""
        if post.is_request and not post.answers:
            self._failures[type(post.id), post.id] = Failure(why, lost=lost)
            self._inbox.fail(post.id)
        self.note(f"{post.name}: {why}")

    def breaks(self, expected: str, seen: str) -> None:
        """The program broke a rule of the transport without which no answer can be trusted; every check fails."""
        self.problems.append(Violation(expected, seen, timed=False))

    def deviates(self, expected: str, seen: str) -> None:
        """The program broke a rule of the transport, but its meaning is clear."""
        self.deviations.append(Violation(expected, seen, timed=False))

    def note(self, text: str) -> None:
        """Add what happened on the wire to the event log."""
        self._timeline.record("client", "http", text, peer=self._launched.actor)

    # Bodies

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body in pieces. Raises `StreamTooLarge` when the client has received more than it reads."""
        while chunk := await response.content.read(_CHUNK):
            await self._reads.wait()
            self._received += len(chunk)
            if self._received > MAX_RECEIVED or self._inbox.flooded:
                raise StreamTooLarge(f"a flood: more than {self._received} bytes")
            yield chunk

    async def body(self, response: aiohttp.ClientResponse) -> str:
        """The whole body as text. Raises `StreamTooLarge`."""
        parts = [chunk async for chunk in self.chunks(response)]
        return b"".join(parts).decode(errors="replace")

    async def events(
        self, response: aiohttp.ClientResponse, decoder: EventDecoder
    ) -> AsyncIterator[StreamedEvent]:
        """The events of a response. Raises `StreamTooLarge`."""
        async for chunk in self.chunks(response):
            for event in decoder.feed(chunk):
                yield event


async def _note_written(_: Any, context: Any, __: Any) -> None:
    post = context.trace_request_ctx
    if isinstance(post, Post):
        post.written.set()


def messages(text: str) -> list[Json]:
    """The JSON-RPC messages of a body: one, those of an array, or none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = value if isinstance(value, list) else [value]
    return [message for message in found if isinstance(message, dict)]


def describe(response: aiohttp.ClientResponse, body: str = "") -> str:
    """The status, the content type and the beginning of the body."""
    kind = response.headers.get("Content-Type", "no Content-Type")
    place = response.headers.get("Location")
    return (
        f"HTTP {response.status} {shorten(response.reason or '', 40)}, {shorten(kind, 60)}"
        + (f", Location: {shorten(place, 100)}" if place else "")
        + (f": {shorten(body, 500)!r}" if body else "")
    )


def describe_loss(problem: Exception) -> str:
    """What broke a connection, in words."""
    return str(problem) or type(problem).__name__


def media_type(response: aiohttp.ClientResponse) -> str:
    """The content type without parameters, in lower case."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def quietly(work: Coroutine[Any, Any, Any], within: float) -> None:
    """Do this as far as the program lets it, at most `within` seconds."""
    with anyio.move_on_after(within), contextlib.suppress(*LOST, ConformanceError):
        await work
