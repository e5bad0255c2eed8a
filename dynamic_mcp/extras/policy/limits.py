"""How many calls one server gets: so many in any period, and so many at once.

A call beyond the rate is refused at once. One beyond the number at once waits in order, and its waiting counts towards its timeout; whoever
stops waiting leaves no trace. Calls that wait count for the rate already, so that a crowd of them does not exceed it when it is
let go. Limits that are changed hold from then on, for those who wait too.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dynamic_mcp.config.model import CallRules, RateLimit
from dynamic_mcp.errors import CallRefused, UpstreamTimeout


class Limits:
    """The limits of one server, and what counts towards them."""

    def __init__(self, policy: CallRules) -> None:
        self._now = asyncio.get_running_loop().time
        self._policy = policy
        #: when each call was let go that counts for the rate
        self._recent: deque[float] = deque()
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def set(self, policy: CallRules) -> None:
        """Go over to other limits."""
        self._policy = policy
        self._let_go()

    @asynccontextmanager
    async def slot(self, timeout: float) -> AsyncIterator[float]:
        """Held during a call; gives the seconds that it waited. ``timeout`` in seconds.

        Raises CallRefused beyond the rate, UpstreamTimeout when no place became free in time.
        """
        if self._policy.rate_limit is not None:
            self._check_rate(self._policy.rate_limit)
        began = self._now()
        await self._enter(timeout)
        try:
            yield self._now() - began
        finally:
            self._running -= 1
            self._let_go()

    async def _enter(self, timeout: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_go()
        try:
            async with asyncio.timeout(timeout):
                await turn
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                # Its turn came in the same moment.
                self._running -= 1
                self._let_go()
            if isinstance(error, TimeoutError):
                most = self._policy.max_concurrent_calls
                raise UpstreamTimeout(
                    f"it waited {timeout:g} s for one of {most} calls to end, which is how many this server "
                    "gets at once (max_concurrent_calls)"
                ) from None
            raise

    def _let_go(self) -> None:
        """Let go who waits, as far as there are places."""
        most = self._policy.max_concurrent_calls or math.inf
        while self._waiting and self._running < most:
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                if self._policy.rate_limit is not None:
                    self._recent.append(self._now())
                turn.set_result(None)

    def _check_rate(self, rate: RateLimit) -> None:
        now = self._now()
        while self._recent and self._recent[0] <= now - rate.per:
            self._recent.popleft()
        if len(self._recent) + len(self._waiting) >= rate.calls:
            again = self._recent[0] + rate.per - now if self._recent else rate.per
            raise CallRefused(
                f"this server gets at most {rate.calls} calls in {rate.per:g} s (rate_limit); "
                f"try again in {math.ceil(again * 10) / 10:g} s"
            )
