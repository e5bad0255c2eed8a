"""The server's own stream of a Streamable HTTP session: where a server of a legacy revision notifies the proxy outside of requests.

A server sends its notifications only while this stream is open (MCP 2025-11-25, basic/transports, "Listening for Messages from the
Server"). Some servers offer none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import anyio

from dynamic_mcp.errors import SignInMayHelp, SignInNeeded, UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.reply_stream import BUSY, MIN_RETRY_DELAY, NO_FAILURE_AFTER, ReplyStream
from dynamic_mcp.upstream.http.session import ANSWER_FORGOTTEN, HttpSession

#: Seconds before the proxy opens the stream again, if the server names no time; twice as many each time the stream breaks at once.
REOPEN_DELAY = 1.0
MAX_REOPEN_DELAY = 30.0
#: Refusals that may pass, beside those from 500 on. With other tokens, 401 and 403 do.
_MAY_PASS = BUSY | refusals.OF_TOKENS
#: Refusals with which a server says that it has no stream of its own, even if it had one before.
_NO_STREAM = frozenset({405, 501})
#: Why a request gets no answer that it waits for on the stream.
_NO_LONGER_OFFERED = (
    "the server offers no event stream of its own any more, and so the answer cannot come there"
)
#: Seconds between the attempts to begin a session that no request waits for.
RENEWAL_PAUSES = (1.0, 2.0, 4.0, 8.0)


class Renew(Protocol):
    """Begins a new session instead of the one with this number. With ``may_fail``, a failure that may pass leaves the old session.

    If the loss of the old one is not certain, the refusal of the token leaves it too.
    """

    async def __call__(self, old: int, *, may_fail: bool = False, is_certain: bool = True) -> None: ...


class OwnStream:
    """Keeps the stream of the current session open."""

    def __init__(
        self,
        client: HttpClient,
        session: HttpSession,
        open_stream: Callable[[str], ReplyStream],
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]],
        on_open: Callable[[], None],
        on_end: Callable[[str], None],
        renew: Renew,
        confirm_loss: Callable[[], Awaitable[bool]],
    ) -> None:
        """``open_stream`` makes the stream after an event id, and ``start`` begins a task.

        ``on_open`` is called each time the stream opens without the messages that the server may have sent before. ``on_end`` is called
        with the reason when no further stream follows in the session.

        ``renew`` begins a new session, because the server has forgotten the old one. ``confirm_loss`` tells whether that is so.
        """
        self.is_open = False
        self._client = client
        self._session = session
        self._open_stream = open_stream
        self._start = start
        self._on_open = on_open
        self._on_end = on_end
        self._renew = renew
        self._confirm_loss = confirm_loss
        #: in this session, and in any session of the connection
        self._has_opened = False
        self._was_open = False
        self._replied = asyncio.Event()
        self._lost_at = float("-inf")
        self._listening: asyncio.Task[None] | None = None
        #: set when a request uses the stream, until that has shortened a pause
        self._is_used = asyncio.Event()

    @property
    def is_listening(self) -> bool:
        """Whether the stream is open, or will open again."""
        return self._listening is not None and not self._listening.done()

    def note_use(self) -> None:
        """Note that a request waits for its answer on the stream, or got it there. The stream then opens again soon."""
        self._is_used.set()

    def stop(self) -> None:
        """Listen no longer."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def restart(self) -> None:
        """Listen to the stream of the session as it is now. Event ids of an old session mean nothing in it."""
        self.stop()
        self._has_opened = False
        self._replied = replied = asyncio.Event()
        number = self._session.number
        self._listening = self._start(lambda: self._listen(number))
        self._listening.add_done_callback(lambda _: replied.set())

    async def _listen(self, number: int) -> None:
        await listen(
            self._client,
            self._session,
            self._open_stream,
            lambda status: self._is_lost(number, status),
            self._opened,
            self._pause,
            was_open=self._was_open,
        )
        self._on_end(_NO_LONGER_OFFERED)

    async def replied(self, seconds: float) -> None:
        """Wait until the stream is open or refused, ``seconds`` at most. A list that began before is in doubt."""
        with anyio.move_on_after(seconds):
            await self._replied.wait()

    @contextmanager
    def _opened(self, resumed: bool) -> Iterator[None]:
        self.is_open = self._has_opened = self._was_open = True
        self._replied.set()
        if not resumed:
            self._on_open()
        try:
            yield
        finally:
            self.is_open = False

    async def _pause(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self._is_used.wait()
        is_used = self._is_used.is_set()
        if is_used:
            # Each use shortens one pause only, because a broken stream would open all the time.
            self._is_used.clear()
            await asyncio.sleep(MIN_RETRY_DELAY)
        return is_used

    async def _is_lost(self, number: int, status: int) -> bool:
        """Whether a reply such as 404 ends the session. Before the stream was open once, the server may just have no such stream.

        The bound in time is for a server that opens one stream in each session and answers 404 afterwards.
        """
        self._replied.set()
        now = asyncio.get_running_loop().time()
        if self._session.id is None or not self._has_opened or now < self._lost_at + MAX_REOPEN_DELAY:
            return False
        self._lost_at = now
        if status != 404 and not await self._confirm_loss():
            return False
        is_certain = status not in refusals.OF_TOKENS
        if is_certain:
            self._on_end(ANSWER_FORGOTTEN)
        self._start(lambda: self._begin_session(number, is_certain=is_certain))
        return True

    async def _begin_session(self, old: int, *, is_certain: bool) -> None:
        """Begin a new session. The calls in flight may still get their answers, so a server that is busy for a moment ends none."""
        for pause in RENEWAL_PAUSES:
            await self._renew(old, may_fail=True, is_certain=is_certain)
            if self._session.number != old:
                return
            await asyncio.sleep(pause)
            if not is_certain and not await self._confirm_loss():
                break
        else:
            await self._renew(old, is_certain=is_certain)
        if self._session.number == old:
            self.restart()


async def _pause(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return False


async def listen(
    client: HttpClient,
    session: HttpSession,
    open_stream: Callable[[str], ReplyStream],
    is_lost: Callable[[int], Awaitable[bool]],
    opened: Callable[[bool], AbstractContextManager[None]] = lambda resumed: nullcontext(),
    pause: Callable[[float], Awaitable[bool]] = _pause,
    *,
    was_open: bool = False,
) -> None:
    """Read the server's own stream while the server offers one.

    MCP 2025-11-25, basic/transports, "Listening for Messages from the Server". ``open_stream`` makes the stream after an event id. A
    reply that says that the session is lost is the end if ``is_lost``, which gets the status, agrees. ``opened`` lasts as long as an
    open stream, and gets whether the stream goes on after the last event. ``pause`` waits for so many seconds before the stream opens
    again, or returns true earlier. ``was_open`` says that the server has offered the stream before.

    A refused token is renewed once. After that, only a call gets another one, because a server that refuses every GET would use up tokens
    that work for calls.
    """
    delay, last_id, may_renew = REOPEN_DELAY, "", True
    while True:
        stream, knows_event = open_stream(last_id), True
        try:
            async with client.request("GET", session.stream_headers(last_id), may_renew=may_renew) as reply:
                if reply.status == 200 and reply.content_type == "text/event-stream":
                    may_renew = was_open = True
                    with opened(bool(last_id)):
                        await stream.read(reply)
                elif _is_last(reply.status, was_open=was_open):
                    report = log.info if was_open else log.debug
                    report("the server has no event stream of its own (HTTP %d)", reply.status)
                    return
                elif reply.status >= 400 and await reply.is_session_lost() and await is_lost(reply.status):
                    return
                elif reply.status in refusals.OF_TOKENS:
                    may_renew = False
                else:
                    knows_event = not _may_concern_event(reply.status)
        except (SignInNeeded, SignInMayHelp) as error:
            may_renew = False
            log.debug("the server's own stream waits for another token: %s", error)
        except UpstreamFailed as error:
            log.debug("the server's own stream broke: %s", error)
        # What the server sent meanwhile is lost if it does not know the last event any more.
        last_id = stream.parser.last_id if knows_event else ""
        requested = stream.parser.retry
        if requested is not None:
            # A server that names a time ends its streams on purpose.
            await asyncio.sleep(max(requested, MIN_RETRY_DELAY))
        elif stream.lasted >= NO_FAILURE_AFTER:
            delay = REOPEN_DELAY
            await asyncio.sleep(MIN_RETRY_DELAY)
        else:
            delay = REOPEN_DELAY if await pause(delay) else min(delay * 2, MAX_REOPEN_DELAY)


def _is_last(status: int, *, was_open: bool) -> bool:
    """Whether this refusal says that the server has no stream of its own. After an open stream, most come from a gateway."""
    if was_open or status == 404:
        return status in _NO_STREAM
    return status == 501 or (status < 500 and status not in _MAY_PASS)


def _may_concern_event(status: int) -> bool:
    """Whether this refusal of a resumption may say that the server does not know the event. Servers have several statuses for that."""
    return status == 500 or (400 <= status < 500 and status not in _MAY_PASS)
