"""Limits for the calls of one server: the rate, and the number of concurrent calls.

A call beyond the rate is refused at once. A call beyond the concurrency limit waits in a queue, and the wait counts towards its timeout;
a cancelled call leaves the queue. Waiting calls already count for the rate, so the queue cannot exceed the rate later. Changed limits
also apply to waiting calls.
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
    """The limits of one server, and its current calls."""

    def __init__(self, policy: CallRules) -> None:
        self._now = asyncio.get_running_loop().time
        self._policy = policy
        #: the start time of each call that counts for the rate
        self._recent: deque[float] = deque()
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def set(self, policy: CallRules) -> None:
        """Apply other limits."""
        self._policy = policy
        self._admit()

    @asynccontextmanager
    async def slot(self, timeout: float) -> AsyncIterator[float]:
        """Hold a slot during a call; yields the seconds of the wait. ``timeout`` in seconds.

        Raises CallRefused beyond the rate, UpstreamTimeout if no slot becomes free in time.
        """
        if self._policy.rate_limit is not None:
            self._check_rate(self._policy.rate_limit)
        began = self._now()
        await self._enter(timeout)
        try:
            yield self._now() - began
        finally:
            self._running -= 1
            self._admit()

    async def _enter(self, timeout: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._admit()
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():
                # It got its slot at the same moment.
                self._running -= 1
                self._admit()
            if isinstance(error, TimeoutError):
                maximum = self._policy.max_concurrent_calls
                raise UpstreamTimeout(
                    f"it waited {timeout:g} s for its turn; this server gets at most {maximum} calls at once "
                    "(max_concurrent_calls)"
                ) from None
            raise

    def _admit(self) -> None:
        """Start waiting calls while slots are free."""
        maximum = self._policy.max_concurrent_calls or math.inf
        while self._waiting and self._running < maximum:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._running += 1
                if self._policy.rate_limit is not None:
                    self._recent.append(self._now())
                waiter.set_result(None)

    def _check_rate(self, rate: RateLimit) -> None:
        now = self._now()
        while self._recent and self._recent[0] <= now - rate.per:
            self._recent.popleft()
        if len(self._recent) + len(self._waiting) >= rate.calls:
            delay = self._recent[0] + rate.per - now if self._recent else rate.per
            raise CallRefused(
                f"this server gets at most {rate.calls} calls in {rate.per:g} s (rate_limit); "
                f"try again in {math.ceil(delay * 10) / 10:g} s"
            )
