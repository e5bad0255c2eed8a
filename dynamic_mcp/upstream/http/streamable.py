"""An upstream behind a URL: Streamable HTTP, of the handshake revisions and of 2026-07-28.

Each message of the proxy is its own POST, and the POSTs run concurrently. The answer to a request comes only from the reply to its POST, or
from the stream that resumes this reply. It is JSON, or the event with its id. Other events may precede the answer, and the stream may go on
after it. A bad reply fails only its own request.

Handshake revisions also have a session, which begins again after the server forgot it, a stream of the server's own (GET), and
resumption of broken streams. A modern server has none of these; the end of the connection tells it of a cancellation (MCP 2025-11-25,
basic/transports; MCP 2026-07-28, basic/transports/streamable-http).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import anyio
from msgspec import Raw

from dynamic_mcp.errors import (
    EraChanged,
    HttpStatus,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
    UpstreamTimeout,
)
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc, large
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import Malformed, Message, Outgoing
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.pieces import Line, is_batch, size_of
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.http.answer_stream import AnswerStream
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.connection import HttpUpstream
from dynamic_mcp.upstream.http.era_changes import EraChanges
from dynamic_mcp.upstream.http.json_body import json_body, messages_in, no_answer
from dynamic_mcp.upstream.http.own_stream import OwnStream
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import SESSION, HttpSession
from dynamic_mcp.upstream.http.tries import SessionGone, Tries

#: Seconds in which the server has to answer the DELETE of the session.
END_SESSION_TIMEOUT = 2.0
#: Seconds that a start waits for the server's own stream, so that the first list is certain. Some servers open it with their first event.
OWN_STREAM_WAIT = 0.5

_INITIALIZED = Outgoing(jsonrpc.notification(handshake.INITIALIZED), handshake.INITIALIZED)


class StreamableHttpUpstream(HttpUpstream):
    """A server behind a URL. Nothing happens before ``open``.

    If the server is unreachable, its calls fail. The upstream is lost if no new session can begin.
    """

    def __init__(self, client: HttpClient, events: Events, *, max_size: int = MAX_MESSAGE) -> None:
        super().__init__(client, events, self._on_cancelled, max_size=max_size)
        self._session = HttpSession()
        self._posts: dict[int, asyncio.Task[None]] = {}
        self._tries = Tries(self._session)
        self._era_changes = EraChanges(self._peer, events.client_info)
        #: take what is no message in the JSON body that answers a request
        self._notes: dict[int, Callable[[Malformed], None]] = {}
        self._timeout = 10.0
        self._renewal: asyncio.Task[None] | None = None
        self._own_stream = OwnStream(
            client,
            self._session,
            lambda last_id: self._stream(None, last_id),
            self._in_background,
            events.on_stream_open,
            self._renew,
        )

    @property
    def delivers_notifications(self) -> bool:
        return self._own_stream.is_open

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        self._timeout = timeout
        await self._client.start()
        if skip_probe or not await self._is_modern():
            try:
                await self._begin_session()
                self._own_stream.restart()
                await self._own_stream.replied(OWN_STREAM_WAIT)
            except handshake.SpeaksModern:
                if not await self._is_modern():
                    raise
        self._is_open = True

    async def _is_modern(self) -> bool:
        self._session.version = era.MODERN
        agreed = await self._probe()
        self.modern = agreed is not None
        if agreed is not None:
            self.agreed = agreed
        return self.modern

    async def _probe(self) -> Handshake | None:
        try:
            return await handshake.probe(self._peer, self._events.client_info())
        except UpstreamGone as problem:
            # Some servers and gateways reset the connection. If the server is unreachable, ``initialize`` fails for the same reason.
            log.debug("no answer to server/discover, so initialize follows: %s", problem)
            return None

    async def _begin_session(self) -> None:
        """Do the handshake. Raises UpstreamError."""
        self._session.id = self._session.version = None
        self.agreed = await handshake.initialize(
            self._peer, self._timeout, self._events.capabilities(), self._events.client_info()
        )
        self._session.version = self.agreed.version
        # Other requests have to wait for its acceptance (MCP 2025-11-25, basic/lifecycle, "Initialization").
        try:
            async with asyncio.timeout(self._timeout):
                await self._post_unanswered(_INITIALIZED)
        except TimeoutError:
            raise UpstreamTimeout(
                f"it did not confirm {handshake.INITIALIZED} within {self._timeout:g} s"
            ) from None

    def learn_tool(self, name: str, definition: Raw) -> str:
        return self._session.mirrored.learn(name, definition) if self.modern else ""

    # Messages to the server

    def _send(self, message: Outgoing) -> None:
        id = message.id
        if id is None:
            self._outbox.add(message)
            return
        task = self._in_background(lambda: self._post_request(id, message))
        self._posts[id] = task
        task.add_done_callback(lambda _: self._posts.pop(id, None))

    def _on_cancelled(self, id: int) -> bool:
        """Stop waiting for an answer. The end of the connection tells a modern server of the cancellation."""
        if (task := self._posts.get(id)) is not None:
            task.cancel()
        return self.modern

    async def _post_request(self, id: int, message: Outgoing) -> None:
        try:
            if self._renewal is not None and message.method != "initialize":
                await asyncio.shield(self._renewal)
            session = self._tries.begin(id, message.method)
            try:
                await self._exchange(id, message)
            except SessionGone as gone:
                await self._renew(session)
                if not gone.may_repeat:
                    raise
                self._tries.repeat(id)
                await self._exchange(id, message)
        except EraChanged as change:
            # The other requests may have run.
            self._lose(UpstreamGone(str(change)))
        except UpstreamFailed as error:
            self._peer.fail(id, error)
        finally:
            self._tries.end(id)

    async def _exchange(self, id: int, message: Outgoing) -> None:
        """Send one POST and deliver its answer. Raises UpstreamFailed."""
        headers = self._session.message_headers(message)
        async with self._client.request(
            "POST",
            headers,
            message.line.rstrip(),
            # It is repeated for ever, and a renewal for each attempt would use up tokens that work for calls.
            may_renew=message.method != "subscriptions/listen",
            may_sign_in=self._may_sign_in(message.method),
        ) as reply:
            if message.method == "initialize" and reply.status < 400:
                self._session.id = reply.header(SESSION)
            if reply.status >= 400:
                await self._era_changes.check(id, message, reply, modern=self.modern)
            if reply.content_type != "text/event-stream" or reply.status != 200:
                await self._take_json(id, reply)
                return
            stream = self._stream(id)
            if await stream.read(reply):
                return
        if self.modern:
            raise stream.failure
        await stream.resume(self._client, self._session)

    async def _take_json(self, id: int, reply: HttpReply) -> None:
        """Take the answer from a JSON body. A reply with an error status may contain a JSON-RPC error, which is the answer."""
        if reply.status >= 400:
            # Before the whole body is read, so that a refusal can show its words.
            await reply.beginning_of_body()
        if reply.status >= 400 and await self._tries.refusal_says_lost(id, reply):
            problem = await self._client.refusal(reply, f"it does not know the session (HTTP {reply.status})")
            raise SessionGone(str(problem), problem.last_output, status=reply.status)
        body = await json_body(reply, self._max_size)
        problems: list[str] = []

        def note(problem: Malformed) -> None:
            problem.reason = f"{problem.reason} ({reply.outline})"
            problems.append(problem.reason)

        try:
            elements = await messages_in(body)
        except Malformed as problem:
            elements = ()
            note(problem)
        self._notes[id] = note
        try:
            if await self._deliver_all(id, elements, is_refusal=reply.status >= 400):
                return
        finally:
            del self._notes[id]
        if reply.status >= 300:
            raise await self._client.refusal(reply)
        raise UpstreamFailed(await no_answer(reply, body, problems))

    def _stream(self, id: int | None, last_id: str = "") -> AnswerStream:
        return AnswerStream(
            id,
            lambda data: self._deliver_event(id, data),
            self._peer.take_oversized,
            self._flow,
            max_size=self._max_size,
            last_id=last_id,
        )

    async def _deliver_event(self, id: int | None, data: Line) -> bool:
        """Handle the data of an event: a message, or a batch. True if the answer to the request with this id is in it."""
        if not is_batch(data):
            return await self._deliver(id, data)
        try:
            elements = await large.elements_of_any(data)
        except Malformed:
            return await self._deliver(id, data)
        return await self._deliver_all(id, elements)

    async def _deliver_all(
        self, id: int | None, elements: Iterable[Line], *, is_refusal: bool = False
    ) -> bool:
        is_answered, slices = False, Slices()
        for element in elements:
            is_answered |= await self._deliver(id, element, is_refusal=is_refusal)
            await slices.rest()
        return is_answered

    async def _deliver(self, id: int | None, data: Line, *, is_refusal: bool = False) -> bool:
        """Handle one message of a reply; true for the answer to the request with this id."""
        own = b"" if id is None else b"%d" % id
        try:
            message = await large.parse_any(data)
        except Malformed as problem:
            if id is not None and id in self._notes:
                self._notes[id](problem)
            # Only the reply to a request can end it.
            is_own = problem.answer and self._is_own(id, problem.id)
            problem.answer = is_own
            if is_refusal and not is_own:
                # Its words are shown, so nothing is lost.
                return False
            self._peer.receive_malformed(problem)
            if not is_own:
                self._peer.count_junk(size_of(data))
            return is_own
        if message.method is not None:
            if message.id and self._tries.is_of_lost_session(id):
                log.debug("a request of the server was dropped, because its session is lost")
            else:
                self._peer.receive_message(message, within=id)
            return False
        if message.error and (is_refusal or bytes(message.id) == jsonrpc.NULL):
            # A server that refuses the whole HTTP request may not have read the id.
            message = Message(jsonrpc="2.0", id=Raw(own), error=message.error)
        if not self._is_own(id, bytes(message.id)):
            self._peer.count_junk(size_of(data))
            return False
        if message.error and not is_refusal and self._tries.error_says_lost(id, bytes(message.error)):
            raise SessionGone("it does not know the session")
        self._peer.receive_answer(message)
        return True

    def _is_own(self, id: int | None, found: bytes) -> bool:
        return id is not None and whole_number(found) == id

    async def _post_unanswered(self, message: Outgoing) -> None:
        await self._client.post(self._session.message_headers(message), message.line.rstrip())

    # Sessions of the handshake revisions

    async def _renew(self, old: int, *, may_fail: bool = False) -> None:
        """Begin a new session, once for all requests of the old one, which has this number. Raises UpstreamGone.

        With ``may_fail``, a failure that may pass leaves the old session.
        """
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        if self._session.number == old and not self._end.done():
            if self._renewal is None:
                # A separate task, because the cancellation of one request must not end it for the others.
                self._renewal = self._in_background(lambda: self._replace_session(may_fail=may_fail))
            await asyncio.shield(self._renewal)
        if self._end.done():
            raise self._end.result().copy()

    async def _replace_session(self, *, may_fail: bool) -> None:
        log.info("the server has forgotten the session; beginning a new one")
        before = self._session.id, self._session.version, self._session.number
        self._session.number += 1
        self._leave_session()
        self._own_stream.stop()
        try:
            await self._begin_session()
        except UpstreamError as error:
            if may_fail and _may_pass(error):
                log.info("no new session began yet: %s", error)
                self._session.id, self._session.version, self._session.number = before
                return
            setting = " (timeout.start)" if isinstance(error, UpstreamTimeout) else ""
            self._lose(UpstreamGone(f"no new session could be begun: {error}{setting}"))
            return
        finally:
            self._renewal = None
        self._own_stream.restart()
        self._events.on_new_session()

    async def _end_session(self) -> None:
        """End the session. Ignores a server that refuses this or does not answer."""
        if self._session.id is None:
            return
        with anyio.move_on_after(END_SESSION_TIMEOUT):
            try:
                async with self._client.request("DELETE", self._session.headers()):
                    pass
            except UpstreamFailed as error:
                log.debug("the server did not acknowledge the end of the session: %s", error)


def _may_pass(error: UpstreamError) -> bool:
    """Whether the server may begin a session soon: it has too much to do, or cannot be reached at the moment."""
    if isinstance(error, HttpStatus):
        return error.status == 429 or error.status >= 500
    return isinstance(error, UpstreamGone)
