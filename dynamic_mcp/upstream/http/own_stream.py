"""The server's own stream of a Streamable HTTP session: where a server of a legacy revision notifies the proxy outside of requests.

A server sends its notifications only while this stream is open (MCP 2025-11-25, basic/transports, "Listening for Messages from the
Server"). Some servers offer none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import anyio

from dynamic_mcp.upstream.http.answer_stream import MAX_RETRY_DELAY, AnswerStream, listen
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds between the attempts to begin a session that no request waits for.
RENEWAL_PAUSES = (1.0, 2.0, 4.0, 8.0)


class Renew(Protocol):
    """Begins a new session instead of the one with this number. With ``may_fail``, a failure that may pass leaves the old session."""

    async def __call__(self, old: int, *, may_fail: bool = False) -> None: ...


class OwnStream:
    """Keeps the stream of the current session open."""

    def __init__(
        self,
        client: HttpClient,
        session: HttpSession,
        open_stream: Callable[[str], AnswerStream],
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]],
        on_open: Callable[[], None],
        renew: Renew,
        confirm_loss: Callable[[], Awaitable[bool]],
    ) -> None:
        """``open_stream`` makes the stream after an event id, and ``start`` begins a task.

        ``on_open`` is called each time the stream opens without the messages that the server may have sent before.

        ``renew`` begins a new session, because the server has forgotten the old one. ``confirm_loss`` tells whether that is so.
        """
        self.is_open = False
        self._client = client
        self._session = session
        self._open_stream = open_stream
        self._start = start
        self._on_open = on_open
        self._renew = renew
        self._confirm_loss = confirm_loss
        #: in this session, and in any session of the connection
        self._has_opened = False
        self._was_open = False
        self._replied = asyncio.Event()
        self._lost_at = float("-inf")
        self._listening: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Listen no longer."""
        if self._listening is not None:
            self._listening.cancel()

    def restart(self) -> None:
        """Listen to the stream of the session as it is now. Event ids of an old session mean nothing in it."""
        self.stop()
        self._has_opened = False
        self._replied = replied = asyncio.Event()
        number = self._session.number
        self._listening = self._start(
            lambda: listen(
                self._client,
                self._session,
                self._open_stream,
                lambda status: self._is_lost(number, status),
                self._opened,
                was_open=self._was_open,
            )
        )
        self._listening.add_done_callback(lambda _: replied.set())

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

    async def _is_lost(self, number: int, status: int) -> bool:
        """Whether a reply such as 404 ends the session. Before the stream was open once, the server may just have no such stream.

        The bound in time is for a server that opens one stream in each session and answers 404 afterwards.
        """
        self._replied.set()
        now = asyncio.get_running_loop().time()
        if self._session.id is None or not self._has_opened or now < self._lost_at + MAX_RETRY_DELAY:
            return False
        self._lost_at = now
        if status != 404 and not await self._confirm_loss():
            return False
        self._start(lambda: self._begin_session(number))
        return True

    async def _begin_session(self, old: int) -> None:
        """Begin a new session. The calls in flight may still get their answers, so a server that is busy for a moment ends none."""
        for pause in RENEWAL_PAUSES:
            await self._renew(old, may_fail=True)
            if self._session.number != old:
                return
            await asyncio.sleep(pause)
        await self._renew(old)
