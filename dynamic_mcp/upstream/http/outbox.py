"""The messages to a server behind a URL that have no answer: the proxy's notifications, and its answers to the server.

Each is a POST of its own. A server may leave POSTs hanging, and each one takes a descriptor, so few are in flight at once. The others
wait; while too many bytes wait, the proxy does not read from the server (``flow.Owed``), and drops its own notifications.

An answer belongs to the session whose server asked. Another session can use the same id for another question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import Outgoing
from dynamic_mcp.upstream.flow import MAX_OWED, Holds, Owed

#: POSTs in flight at once.
MAX_POSTS = 16
#: Bytes that each waiting message counts in addition to its own, so that their number has a bound too.
_OVERHEAD = 1 << 10


class Outbox:
    """Begins to send the messages in order, several at once."""

    def __init__(
        self,
        post: Callable[[Outgoing], Awaitable[None]],
        in_background: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
        holds: Holds,
        end: Callable[[str], None],
    ) -> None:
        """``post`` may raise UpstreamFailed; ``in_background`` starts a task that ends with the connection at the latest."""
        self._post = post
        self._in_background = in_background
        #: each message with the session in which it came
        self._waiting: deque[tuple[Outgoing, int]] = deque()
        self._waiting_bytes = 0
        self._in_flight = 0
        #: the number of the current session
        self._session = 0
        self._owed = Owed(lambda: self._waiting_bytes, holds, end)

    def add(self, message: Outgoing) -> None:
        """Send a message, now or later."""
        if self._in_flight < MAX_POSTS:
            self._in_flight += 1
            session = self._session
            self._in_background(lambda: self._send_from(message, session))
        elif message.method is not None and self._waiting_bytes > MAX_OWED:
            log.debug("a notification was dropped, because too much waits for the server")
        else:
            self._waiting.append((message, self._session))
            self._waiting_bytes += len(message.line) + _OVERHEAD
            self._owed.grew()

    def leave_session(self) -> None:
        """Send no answer that waits, because the server has lost the session in which it asked."""
        self._session += 1

    def close(self) -> None:
        """Send nothing that waits."""
        self._waiting.clear()
        self._owed.close()

    async def _send_from(self, message: Outgoing, session: int) -> None:
        """Send a message, and then others until none waits."""
        try:
            await self._send(message, session)
            while self._waiting:
                message, session = self._waiting.popleft()
                self._waiting_bytes -= len(message.line) + _OVERHEAD
                self._owed.shrank()
                await self._send(message, session)
        finally:
            self._in_flight -= 1

    async def _send(self, message: Outgoing, session: int) -> None:
        if message.method is None and session != self._session:
            log.debug("an answer was dropped, because the server has lost the session in which it asked")
            return
        try:
            await self._post(message)
        except UpstreamFailed as error:
            log.debug("the server did not accept a message: %s", error)
