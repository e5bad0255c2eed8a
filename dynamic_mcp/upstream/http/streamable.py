"""An upstream behind a URL: Streamable HTTP, of the legacy revisions and of 2026-07-28.

Each message of the proxy is its own POST, and the POSTs run concurrently. The replies contain the answers (``replies``).

Legacy revisions also have a session, which begins again after the server forgot it, a stream of the server's own (GET), and
resumption of broken streams. A modern server has none of these; the end of the connection tells it of a cancellation (MCP 2025-11-25,
basic/transports; MCP 2026-07-28, basic/transports/streamable-http).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

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
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import Outgoing
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.base import Events, Handshake
from dynamic_mcp.upstream.http.answers_elsewhere import AnswersElsewhere
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.connection import HttpUpstream, is_about_token, no_new_session
from dynamic_mcp.upstream.http.era_changes import EraChanges
from dynamic_mcp.upstream.http.json_body import NoAnswer
from dynamic_mcp.upstream.http.own_stream import OwnStream
from dynamic_mcp.upstream.http.replies import Replies
from dynamic_mcp.upstream.http.session import ANSWER_FORGOTTEN, HttpSession
from dynamic_mcp.upstream.http.tries import SessionGone, TokenRefused, Tries

#: Seconds in which the server has to answer the DELETE of the session.
END_SESSION_TIMEOUT = 2.0
#: Seconds that the server has to answer the request which shows whether it has lost the session.
CONFIRMATION_TIMEOUT = 5.0
#: Seconds that a start waits for the server's own stream, so that the first list is certain. Some servers open it with their first event.
OWN_STREAM_WAIT = 0.5

_OF_BEGINNINGS = frozenset({"initialize", handshake.INITIALIZED})
_INITIALIZED = Outgoing(jsonrpc.notification(handshake.INITIALIZED), handshake.INITIALIZED)


class StreamableHttpUpstream(HttpUpstream):
    """A server behind a URL. Nothing happens before ``open``.

    If the server is unreachable, its calls fail. The upstream is lost if no new session can begin.
    """

    def __init__(self, client: HttpClient, events: Events, *, max_size: int = MAX_MESSAGE) -> None:
        super().__init__(client, events, self._on_cancelled, max_size=max_size)
        self._session = HttpSession()
        #: the session of a handshake that goes on
        self._beginning = self._session
        self._posts: dict[int, asyncio.Task[None]] = {}
        self._tries = Tries(self._session, self._confirm_loss)
        self._era_changes = EraChanges(self._peer, events.client_info)
        self._elsewhere = AnswersElsewhere(self._tries.is_current, lambda: self._own_stream.note_use())
        self._replies = Replies(client, self._peer, self._tries, self._elsewhere, self._flow, max_size)
        self._timeout = 10.0
        self._renewal: asyncio.Task[None] | None = None
        #: whether the session is lost, once the request that shows it is over
        self._confirmation: asyncio.Future[bool] | None = None
        self._own_stream = OwnStream(
            client,
            self._session,
            lambda last_id: self._replies.stream(None, last_id),
            self._in_background,
            events.on_stream_open,
            self._elsewhere.end,
            self._renew,
            self._confirm_loss,
        )

    @property
    def delivers_notifications(self) -> bool:
        return self._own_stream.is_open

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        self._timeout = timeout
        await self._client.start()
        if skip_probe or not await self._is_modern():
            try:
                self._session.version = None
                await self._begin_session(self._session)
                self._own_stream.restart()
                await self._own_stream.replied(OWN_STREAM_WAIT)
            except handshake.SpeaksModern:
                # It is known to be modern, so it may take as long as for any other answer of the handshake.
                if not await self._is_modern(timeout):
                    raise
        self._is_open = True

    async def _is_modern(self, timeout: float | None = None) -> bool:
        """Probe the server. ``timeout`` is in seconds; without it, the probe is short."""
        self._session.version = era.MODERN
        agreed = await self._probe(timeout)
        self.modern = agreed is not None
        if agreed is not None:
            self.agreed = agreed
        return self.modern

    async def _probe(self, timeout: float | None) -> Handshake | None:
        try:
            return await handshake.probe(self._peer, self._events.client_info(), timeout)
        except UpstreamGone as problem:
            # Some servers and gateways reset the connection. If the server is unreachable, ``initialize`` fails for the same reason.
            log.debug("no answer to server/discover, so initialize follows: %s", problem)
            return None

    async def _begin_session(self, session: HttpSession) -> None:
        """Do the handshake. Raises UpstreamError."""
        self._beginning = session
        agreed = await handshake.initialize(
            self._peer, self._timeout, self._events.capabilities(), self._events.client_info()
        )
        session.version = agreed.version
        # Other requests have to wait for its acceptance (MCP 2025-11-25, basic/lifecycle, "Initialization").
        try:
            async with asyncio.timeout(self._timeout):
                await self._post_unanswered(_INITIALIZED)
        except TimeoutError:
            raise UpstreamTimeout(
                f"it did not confirm {handshake.INITIALIZED} within {self._timeout:g} s"
            ) from None
        self.agreed = agreed
        self._session.id, self._session.version = session.id, session.version

    def learn_tool(self, name: str, definition: Raw) -> str:
        return self._session.mirrored.learn(name, definition) if self.modern else ""

    # Messages to the server

    def _send(self, message: Outgoing) -> None:
        id = message.id
        if id is None:
            self._outbox.add(message)
        else:
            self._start_post(id, partial(self._post_request, id, message))

    def _start_post(self, id: int, post: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._in_background(post)
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
                await self._exchange_or_wait(id, message)
            except SessionGone as gone:
                await self._renew(session, is_certain=gone.is_certain)
                if not gone.may_repeat:
                    raise
                self._tries.repeat(id)
                is_new = self._session.number != session
                await self._exchange_or_wait(id, message, may_miss_session=is_new)
            except TokenRefused:
                await self._exchange_or_wait(id, message, may_miss_session=False)
        except EraChanged as change:
            # The other requests may have run.
            self._lose(UpstreamGone(str(change)))
        except UpstreamFailed as error:
            self._peer.fail(id, error)
        finally:
            self._tries.end(id)
            self._elsewhere.forget(id)

    async def _exchange(self, id: int, message: Outgoing, *, may_miss_session: bool = True) -> None:
        """Send one POST and deliver its answer. Raises UpstreamFailed."""
        headers = self._headers(message)
        async with self._client.request(
            "POST",
            headers,
            message.line.rstrip(),
            # It is repeated for ever, and a renewal for each attempt would use up tokens that work for calls.
            may_renew=message.method != "subscriptions/listen",
            may_sign_in=self._may_sign_in(message.method),
            may_miss_session=may_miss_session,
        ) as reply:
            if message.method == "initialize" and reply.status < 400:
                # Some servers without sessions send an empty header.
                self._beginning.id = reply.header(era.SESSION_HEADER) or None
            if reply.status >= 400:
                await self._era_changes.check(id, message, reply, self._timeout, modern=self.modern)
            if reply.content_type != "text/event-stream" or reply.status >= 300:
                are_outdated = partial(self._session.has_other_arguments, message, headers)
                await self._replies.take_json(id, reply, are_outdated)
                return
            stream = self._replies.stream(id)
            if await stream.read(reply):
                return
        if self.modern:
            raise stream.failure
        self._tries.note_run(id)
        await stream.resume(self._client, self._session, partial(self._has_lost_session_of, id))

    async def _exchange_or_wait(self, id: int, message: Outgoing, *, may_miss_session: bool = True) -> None:
        """Send one POST and deliver its answer, also if the server sends it on its own stream. Raises UpstreamFailed."""
        try:
            await self._exchange(id, message, may_miss_session=may_miss_session)
        except NoAnswer as failure:
            if not self._elsewhere.has_come(id):
                await self._must_expect_answer(id, message, failure)
            self._peer.receive_answer(await self._elsewhere.wait(id, failure))

    async def _must_expect_answer(self, id: int, message: Outgoing, failure: NoAnswer) -> None:
        """Raises UpstreamFailed if the answer to this request cannot come on the server's own stream."""
        # A renewal does a handshake, which must not wait for the renewal.
        if message.method not in handshake.METHODS and await self._has_lost_session_of(id):
            raise UpstreamGone(ANSWER_FORGOTTEN) from None
        if not self._own_stream.is_listening:
            raise failure

    async def _post_unanswered(self, message: Outgoing) -> None:
        await self._client.post(self._headers(message), message.line.rstrip())

    def _headers(self, message: Outgoing) -> dict[str, str]:
        session = self._beginning if message.method in _OF_BEGINNINGS else self._session
        return session.message_headers(message)

    # Sessions of the legacy revisions

    async def _has_lost_session_of(self, id: int) -> bool:
        """Whether the session in which the request was sent has ended. A renewal that goes on may leave it."""
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        return self._tries.is_of_lost_session(id)

    async def _confirm_loss(self) -> bool:
        """Whether the server refuses a harmless request as one of a lost session; once for all requests that ask at the same time.

        A ping shows nothing, because a server answers it before ``initialize`` too (MCP 2025-11-25, basic/lifecycle).
        """
        if self._confirmation is None:
            self._confirmation = asyncio.get_running_loop().create_future()
            # A separate task, because the cancellation of one request must not end it for the others.
            self._in_background(partial(self._list_to_confirm, self._confirmation))
        return await asyncio.shield(self._confirmation)

    async def _list_to_confirm(self, confirmation: asyncio.Future[bool]) -> None:
        is_lost = False
        try:
            await self._peer.request(
                "tools/list", b"", Options(CONFIRMATION_TIMEOUT), send=self._send_confirmation
            )
        except UpstreamFailed as error:
            is_lost = isinstance(error, SessionGone)
        except UpstreamError as error:
            log.debug("the session seems to go on: %s", error)
        finally:
            self._confirmation = None
            confirmation.set_result(is_lost)

    def _send_confirmation(self, message: Outgoing) -> None:
        if message.id is not None:
            self._start_post(message.id, partial(self._post_confirmation, message.id, message))

    async def _post_confirmation(self, id: int, message: Outgoing) -> None:
        self._tries.begin(id, message.method, confirms=True)
        try:
            await self._exchange(id, message)
        except UpstreamFailed as error:
            self._peer.fail(id, error)
        finally:
            self._tries.end(id)

    async def _renew(self, old: int, *, may_fail: bool = False, is_certain: bool = True) -> None:
        """Begin a new session, once for all requests of the old one, which has this number. Raises UpstreamGone.

        With ``may_fail``, a failure that may pass leaves the old session. If the loss is not certain, the refusal of the token does too.
        """
        if self._renewal is not None:
            await asyncio.shield(self._renewal)
        if self._session.number == old and not self._end.done():
            if self._renewal is None:
                # A separate task, because the cancellation of one request must not end it for the others.
                leaves = partial(_leaves_session, may_fail=may_fail, is_certain=is_certain)
                self._renewal = self._in_background(lambda: self._replace_session(leaves))
            await asyncio.shield(self._renewal)
        if self._end.done():
            raise self._end.result().copy()

    async def _replace_session(self, leaves: Callable[[UpstreamError], bool]) -> None:
        """Begin a new session. ``leaves`` tells whether this failure leaves the old one; any other ends the connection."""
        log.info("the server has forgotten the session; beginning a new one")
        try:
            await self._begin_session(HttpSession())
        except UpstreamError as error:
            if leaves(error):
                log.info("no new session began yet: %s", error)
                return
            setting = " (timeout.start)" if isinstance(error, UpstreamTimeout) else ""
            self._lose(no_new_session(error, setting))
            return
        finally:
            self._renewal = None
        self._session.number += 1
        self._leave_session()
        self._elsewhere.end(ANSWER_FORGOTTEN)
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


def _leaves_session(error: UpstreamError, *, may_fail: bool, is_certain: bool) -> bool:
    """Whether the old session stays if no new one could begin. Its loss may not be certain, and with ``may_fail``, failures may pass."""
    if not is_certain and is_about_token(error):
        return True
    if not may_fail:
        return False
    # The server has too much to do, or cannot be reached at the moment.
    is_busy = isinstance(error, HttpStatus) and (error.status == 429 or error.status >= 500)
    return is_busy or isinstance(error, UpstreamGone)
