"""A client on stdio, connected to a proxy that serves over HTTP (``dynamic-mcp connect``).

Each message of the client is a POST of its own, and what comes back is a line for the client. Both ends decide the era: this module only
adds the headers. If the proxy has forgotten the session, for example after a restart, a new one begins. This module then repeats the
refused request, because the proxy did not run it. A call whose answer got lost fails, and its error says that the call may have run.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection
from contextlib import nullcontext, suppress

import anyio

from dynamic_mcp.errors import HttpStatus, UpstreamFailed, UpstreamGone
from dynamic_mcp.extras.serving.kept_session import KeptSession
from dynamic_mcp.extras.serving.order import HandshakeOrder, ended, without_answer
from dynamic_mcp.extras.serving.outgoing import (
    PostedRequest,
    SessionForgotten,
    StaticToken,
    error_line,
    failure_line,
    headers_of,
    refusal_text,
    version_in,
    whole,
)
from dynamic_mcp.extras.serving.posted import cancelled_request
from dynamic_mcp.extras.serving.repeated import RepeatedWarning
from dynamic_mcp.extras.sharing.memory import SessionMemory
from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.protocol import era, jsonrpc, large
from dynamic_mcp.protocol.ids import id_key
from dynamic_mcp.protocol.jsonrpc import Malformed, Message, one_line
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.oversized import OversizedMessages
from dynamic_mcp.protocol.pieces import Large, Line, first_character
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream.flow import EventFlow
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.json_body import json_body
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.reply_stream import ReplyStream
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds for the end of the session.
END_SESSION = 2.0


class ServedConnection:
    """The two directions between one client and the proxy."""

    def __init__(self, client: HttpClient, link: ClientLink) -> None:
        self._client = client
        self._link = link
        self._memory = SessionMemory()
        self._modern = HttpSession()
        self._modern.version = era.MODERN
        self._flow = EventFlow(lambda size, lines: None)
        self._tasks = TaskSet()
        #: the requests in flight, by the keys of their ids
        self._posts: dict[object, PostedRequest] = {}
        self._oversized = OversizedMessages(self._refuse_oversized)
        #: notifications go out one after the other
        self._order = asyncio.Lock()
        self._handshake = HandshakeOrder()
        self._has_answered = False
        self._warnings = RepeatedWarning()
        self._session = KeptSession(
            client,
            self._memory,
            self._tasks,
            self._warnings,
            self._exchange,
            open_stream=lambda last_id: self._stream(self._pass_on, last_id),
            tell=link.send,
        )

    def set_paused(self, paused: bool) -> None:
        """Read no streams while the client does not read."""
        self._flow.holds.set("client", paused)

    async def run(self) -> None:
        """Pass on messages until the client closes a stream."""
        await self._client.start()
        await self._link.open(self)
        await self._link.wait_input_closed()
        # A request for announcements has no answer before the end.
        posts = [
            post
            for post in self._posts.values()
            if post.method != "subscriptions/listen" and not post.is_cancelled
        ]
        for post in await without_answer(posts, self._has_answered, self._link.wait_output_closed()):
            self._fail(post, UpstreamGone("the client sends nothing more, and the answer took too long"))
        await self._tasks.close()
        if self._session.current.id is not None:
            with anyio.move_on_after(END_SESSION), suppress(UpstreamFailed):
                async with self._client.request("DELETE", self._session.current.headers()):
                    pass
        await self._client.close()
        await self._link.close()
        self._warnings.close()

    # From the client (``LineReceiver``)

    def receive(self, line: bytes) -> None:
        try:
            message = None if first_character(line) == b"[" else jsonrpc.parse(line)
        except Malformed as problem:
            self._refuse(problem)
            return
        self._take(line, message)

    async def receive_large(self, line: Large) -> None:
        try:
            message = None if first_character(line) == b"[" else await large.parse(line)
        except Malformed as problem:
            self._refuse(problem)
            return
        self._take(whole(line), message)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        self._oversized.take(edge, last)

    def _refuse_oversized(self, id: bytes, is_answer: bool) -> None:
        text = f"The message is larger than {jsonrpc.format_size(MAX_MESSAGE)}."
        self._to_client(
            error_line(jsonrpc.NULL if is_answer or not id else id, text, jsonrpc.INVALID_REQUEST)
        )

    def _refuse(self, problem: Malformed) -> None:
        # An answer has the id of a question, which can be that of a request of the client too.
        id = jsonrpc.NULL if problem.is_answer else problem.id
        self._to_client(error_line(id, problem.reason, problem.code))

    def _take(self, line: bytes, message: Message | None) -> None:
        """Post one message, or a batch."""
        is_modern = (
            message is not None and bool(message.params) and era.request_meta(message.params) is not None
        )
        if not is_modern and not self._memory.to_server(line + b"\n"):
            # An answer to a question of a session that has ended.
            return
        if message is None or (message.method is not None and message.id):
            post = PostedRequest(line, message, is_modern=is_modern)
            self._posts.setdefault(post.key, post)
            post.task = self._tasks.start(self._request(post, self._handshake.tasks))
            post.task.add_done_callback(lambda _: self._forget(post))
            if post.method == "initialize":
                self._handshake.add(post.task)
            return
        if message.method == "notifications/cancelled":
            cancelled = self._posts.get(cancelled_request(message))
            if cancelled is not None:
                cancelled.is_cancelled = True
                if cancelled.task is not None and (cancelled.is_modern or not cancelled.is_posted):
                    # The end of the connection cancels a modern request, and a request that waits for a session is only here.
                    cancelled.task.cancel()
                    return
        task = self._tasks.start(self._notify(line, message, self._handshake.tasks))
        if message.method == "notifications/initialized":
            self._handshake.add(task)

    def _forget(self, post: PostedRequest) -> None:
        if self._posts.get(post.key) is post:
            del self._posts[post.key]

    async def _notify(self, line: bytes, message: Message, handshake: Collection[asyncio.Task[None]]) -> None:
        """Post a message without an answer. Answers and cancellations do not wait for other notifications."""
        needs_order = message.method not in (None, "notifications/cancelled")
        async with self._order if needs_order else nullcontext():
            await ended(handshake)
            try:
                await self._session.ready()
                await self._client.post(headers_of(message, self._session.current), line)
            except UpstreamFailed as error:
                status = error.status if isinstance(error, HttpStatus) else 0
                reason = refusal_text(status) or str(error)
                self._warnings.warn(f"the proxy did not take a message: {reason}", reason)
        if message.method == "notifications/initialized":
            self._session.listen()

    async def _request(self, post: PostedRequest, handshake: Collection[asyncio.Task[None]]) -> None:
        """Post a request, and pass on its answer, or an error in its place."""
        if not post.is_modern:
            await ended(handshake)
        try:
            if not post.is_cancelled and not await self._answered(post):
                raise UpstreamGone("the connection to the proxy was lost before the answer came")
        except UpstreamFailed as error:
            self._fail(post, error)
        self._has_answered |= post.method != "initialize"

    def _fail(self, post: PostedRequest, error: UpstreamFailed) -> None:
        """Answer a request with an error."""
        if not post.is_cancelled:
            self._warnings.warn(f"{post.method or 'a batch'} has no answer: {error}", str(error))
            self._to_client(failure_line(post.id, error))

    async def _answered(self, post: PostedRequest) -> bool:
        """Whether the answer came. Raises UpstreamFailed."""
        if post.is_modern:
            return await self._exchange(post, self._modern)
        if post.method == "initialize":
            self._session.current = HttpSession()
        else:
            await self._session.ready()
        if post.method in ("resources/subscribe", "resources/unsubscribe"):
            await self._session.subscribed()
        try:
            return await self._exchange(post, self._session.current)
        except SessionForgotten:
            await self._session.renew(post.session)
        try:
            return await self._exchange(post, self._session.current)
        except SessionForgotten:
            raise UpstreamFailed("the proxy forgets each session at once") from None

    async def _exchange(self, post: PostedRequest, session: HttpSession) -> bool:
        """Post a request, and pass on what comes back; whether the answer did. Raises SessionForgotten and UpstreamFailed."""
        post.session, post.is_posted = session, True
        headers = headers_of(post.message, session)
        async with self._client.request("POST", headers, post.line) as reply:
            if post.method == "initialize" and reply.status < 400:
                session.id = reply.header(era.SESSION_HEADER)
            if reply.content_type != "text/event-stream" or reply.status != 200:
                if reply.status == 404 and era.SESSION_HEADER in headers:
                    post.is_posted = False
                    raise SessionForgotten
                return await self._take_json(reply, post)
            stream = self._stream(lambda data: self._deliver(data, post))
            if await stream.read(reply):
                return True
        # The proxy ends the stream of a cancelled request without an event.
        if post.is_modern or not stream.parser.last_id:
            return False
        try:
            await stream.resume(self._client, session)
        except UpstreamFailed:
            return False
        return True

    async def _take_json(self, reply: HttpReply, post: PostedRequest) -> bool:
        text = refusal_text(reply.status)
        if text or (post.is_own and reply.status >= 400):
            raise await self._client.refusal(reply, text)
        body = await json_body(reply, MAX_MESSAGE)
        if body and await self._deliver(body, post, is_refusal=reply.status >= 400):
            return True
        if reply.status >= 300:
            raise await self._client.refusal(reply)
        return False

    # To the client

    async def _deliver(self, data: Line, post: PostedRequest, *, is_refusal: bool = False) -> bool:
        """Pass on one message; whether it is the answer to the request."""
        body = whole(data)
        if first_character(body) == b"[":
            self._to_client(body)
            return True
        try:
            message = jsonrpc.parse(body)
        except Malformed:
            return False
        is_answer = message.method is None and id_key(message.id) == id_key(post.id)
        if is_refusal and message.error and not is_answer:
            # The proxy refused the HTTP request before it read the id.
            is_answer, body = True, jsonrpc.error(post.id, bytes(message.error))
        if is_answer and post.method == "initialize" and message.result:
            post.session.version = version_in(message.result)
        self._to_client(body)
        return is_answer

    def _to_client(self, body: bytes) -> None:
        line = one_line(body.strip()) + b"\n"
        if passed := self._memory.to_client(line):
            self._link.send(passed)

    async def _pass_on(self, data: Line) -> bool:
        self._to_client(whole(data))
        return False

    def _stream(self, deliver: Callable[[Line], Awaitable[bool]], last_id: str = "") -> ReplyStream:
        return ReplyStream(
            None, deliver, lambda id, is_answer: None, self._flow, max_size=MAX_MESSAGE, last_id=last_id
        )


async def connect(url: str, token: str | None, source: int, sink: int) -> int:
    """Connect the client on two descriptors with the proxy at a URL, until the client closes one; the exit status."""
    client = HttpClient(url, {}, StaticToken(token))
    link = ClientLink(source, sink, lambda paused: connection.set_paused(paused))
    connection = ServedConnection(client, link)
    status = 0

    async def watch_signals() -> None:
        nonlocal status
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                status = 128 + number
                link.end()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals)
        await connection.run()
        tasks.cancel_scope.cancel()
    return status
