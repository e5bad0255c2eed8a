"""Gives up another side that is connected and answers nothing any more.

A request without an answer proves little, because a tool may be slow, and a server with one thread answers nothing else meanwhile. So the
first step is a question. It follows once ``ROUNDS`` requests in a row have ended without an answer, each sent after the end of the previous
one. Any answer in between starts the count again. So do progress, and each request of the other side that the proxy works on. A ``ping``
does not, nor does a request that the proxy refuses at once. Only another side that leaves the question unanswered too loses its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dynamic_mcp.errors import UpstreamError, UpstreamTimeout

#: Requests in a row without an answer, before the question.
ROUNDS = 3
#: Seconds that an answer to the question may take.
QUESTION_TIMEOUT = 5.0
#: Seconds without any answer, at least, before the connection ends; for short timeouts.
MIN_SILENCE = 10.0
#: A request that its caller cancelled counts as unanswered after this many seconds, because some clients have shorter timeouts.
LONG_WAIT = 10.0


class LivenessCheck:
    """Counts the unanswered requests of one connection. ``close`` has to follow."""

    def __init__(self, ask: Callable[[float], Awaitable[object]] | None, end: Callable[[str], None]) -> None:
        """``ask`` sends the question with a timeout in seconds, and may raise UpstreamError; ``end`` gets the reason.

        Without ``ask``, any silence is right.
        """
        self._ask = ask
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._rounds = 0
        #: loop times: when the first unanswered request began, and when the last one ended
        self._since = self._last = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._is_closed = False

    def sign_of_life(self) -> None:
        """Note a sign of life."""
        self._rounds = 0

    def unanswered(self, began: float) -> None:
        """Note a request without an answer; ``began`` is its loop time."""
        if self._ask is None or self._is_closed or self._asking is not None:
            return
        if self._rounds and began < self._last:
            return
        if not self._rounds:
            self._since = began
        self._rounds += 1
        self._last = self._loop.time()
        if self._rounds == ROUNDS:
            self._asking = self._loop.create_task(self._question(self._ask))

    def close(self) -> None:
        """Ask nothing any more."""
        self._is_closed = True
        if self._asking is not None:
            self._asking.cancel()

    async def _question(self, ask: Callable[[float], Awaitable[object]]) -> None:
        timeout = max(QUESTION_TIMEOUT, MIN_SILENCE - (self._loop.time() - self._since))
        try:
            await ask(timeout)
        except UpstreamTimeout:
            # A sign of life may have come in another form than the answer.
            if self._rounds:
                self._end(
                    f"left {ROUNDS} requests in a row without an answer, and answered nothing in {timeout:.0f} s more"
                )
                return
        except UpstreamError:
            pass  # a refusal is an answer, and the end of the connection has its own reason
        self._rounds = 0
        self._asking = None
