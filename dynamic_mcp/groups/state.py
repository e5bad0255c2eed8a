"""The state of a group: whether a call can start now, has to wait, or fails.

::

    starting -> ready -> (crash) starting -> ...
    starting -> failed -> (backoff) ready or failed
    starting -> slow -> ready or failed
    any      -> replaced by a successor, or ended

A call waits while the group is starting, for the first time or after a first crash, at most ``START_WAIT`` seconds. While the client asks
its user to sign in, a call waits longer (``signing_in``). A start that takes longer goes on, and a call fails at once with what the server
said last. During the backoff after a failure, a call fails at once with the reason, unless ``try_again`` starts the next attempt. If the
server asked for a pause, no call starts one within it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from dynamic_mcp.clock import Clock
from dynamic_mcp.errors import StillStarting, UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.upstream.base import Upstream

#: Seconds that a call waits for a start (dynamic-mcp README.md: "10-second timeout for transport creation, initialization, and tool
#: listing"). The start itself may take ``Timeouts.start``.
START_WAIT = 10.0
#: Seconds after a failure before a call starts another attempt.
MIN_AGE = 1.0


class GroupState:
    """The state of one group."""

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        #: the connected upstream, or None
        self.upstream: Upstream | None = None
        #: why calls fail until the next attempt succeeds
        self.failure: UpstreamFailed | None = None
        #: why the group has ended for good
        self.ended: UpstreamFailed | None = None
        #: whether a successor takes the calls
        self.is_replaced = False
        #: set while no call has to wait: the group is ready, has failed, has ended or was replaced
        self.may_proceed = anyio.Event()
        #: set once the first attempt has succeeded or failed, or no attempt follows
        self.first_attempt_over = anyio.Event()
        #: whether the client asks its user to sign in, for which calls wait
        self.asks_the_user = False
        #: calls that wait
        self._waiting = 0
        #: the time of the clock at which the current attempt began; None without an attempt
        self._began: float | None = None
        self._is_slow = False
        #: starts the next attempt; None unless the group waits in the backoff after a failure
        self._hurry: Callable[[], None] | None = None
        #: whether a call does that even just after the failure
        self._hurries_at_once = False
        self._failed_at = 0.0
        #: the time of the clock until which the server asked for no attempt
        self._paused_until = 0.0
        self._last_output: Callable[[], str] = str
        self._warned: str | None = None

    async def connected(self) -> Upstream | None:
        """The connected upstream; waits while the group is starting. None if the group was replaced.

        Raises UpstreamFailed with the reason if the group has failed or ended, and StillStarting if the start takes too long.
        """
        while self.upstream is None and not self.is_replaced:
            if (reason := self.ended or self.failure) is not None:
                raise self._with_pause(reason)
            if self._is_slow:
                raise self._still_starting()
            self._waiting += 1
            try:
                with anyio.move_on_after(START_WAIT) as scope:
                    await self.may_proceed.wait()
            finally:
                self._waiting -= 1
            if scope.cancelled_caught and not self.asks_the_user:
                raise self._still_starting()
        return self.upstream

    def try_again(self) -> None:
        """Start the next attempt, for which calls then wait, unless the last one failed just now."""
        if self.ended is not None or self.failure is None or self._hurry is None:
            return
        if self._hurries_at_once or self._clock() >= max(self._failed_at + MIN_AGE, self._paused_until):
            self._hurry()
            self._hurry = self.failure = None
            self.may_proceed = anyio.Event()

    def _with_pause(self, reason: UpstreamFailed) -> UpstreamFailed:
        """A copy of the reason, with the time that is left of a pause."""
        left = self._paused_until - self._clock()
        if reason is not self.failure or left <= 0.0:
            return reason.copy()
        text = f"{reason}; the next attempt is in {math.ceil(left)} s"
        return UpstreamFailed(text, reason.stderr_tail).to_mend(reason.remedy)

    @contextmanager
    def backoff(self, hurry: Callable[[], None], *, at_once: bool = False) -> Iterator[None]:
        """The delay after a failure; a call ends it by ``hurry``, with ``at_once`` even just after the failure."""
        self._hurry, self._hurries_at_once = hurry, at_once
        try:
            yield
        finally:
            self._hurry = None

    def is_wanted(self) -> bool:
        """Whether a call waits for the start."""
        return self._waiting > 0

    @contextmanager
    def attempt(self, last_output: Callable[[], str]) -> Iterator[None]:
        """One attempt to connect; after ``START_WAIT`` seconds calls wait no longer. ``last_output`` is what the server said last."""
        self._began, self._last_output = self._clock(), last_output
        timer = asyncio.get_running_loop().call_later(START_WAIT, self._slow)
        try:
            yield
        finally:
            timer.cancel()
            self._began, self._is_slow = None, False
            # A sign-in may follow a slow start.
            self._hold_calls()

    def _slow(self) -> None:
        log.warning(
            "group %s is not available yet: its start takes longer than %g s, and goes on",
            self._name,
            START_WAIT,
        )
        self.failure, self._is_slow = None, True
        self.may_proceed.set()

    def _still_starting(self) -> StillStarting:
        if self._began is None:
            return StillStarting("it waits for its turn to start, because other servers are starting")
        since = self._clock() - self._began
        return StillStarting(
            f"it is still starting, since {since:.0f} s; try again later", self._last_output()
        )

    def ready(self, upstream: Upstream) -> None:
        """Let calls use this connected upstream."""
        self.upstream = upstream
        self.failure = self._warned = None
        self._release_calls()

    def lost(self) -> None:
        """Let calls wait, unless there is a failure, because the connection is gone."""
        self.upstream = None
        self._hold_calls()

    def left(self, upstream: Upstream) -> None:
        """Let calls wait, because this connection is about to end."""
        if self.upstream is upstream:
            self.lost()

    def restarting(self, reason: str) -> None:
        """Let calls wait after a first crash, because the upstream restarts soon."""
        log.warning("group %s: %s; restarting it", self._name, reason)
        self.failure = None
        self.lost()

    def failed(
        self,
        reason: str,
        stderr_tail: str = "",
        remedy: str = "",
        *,
        level: int = logging.WARNING,
        pause: float = 0.0,
    ) -> None:
        """Fail calls with this reason, because the upstream cannot be connected, or was lost again.

        A repetition of the same reason is logged at info level, because it may come every 30 s for days. ``stderr_tail`` and
        ``remedy`` are for callers only, not for the log. ``pause`` is the time in seconds for which the server asked for no attempt.
        """
        log.log(
            logging.INFO if reason == self._warned else level,
            "group %s is not available: %s",
            self._name,
            reason,
        )
        self.upstream = None
        self.failure = UpstreamFailed(reason, stderr_tail).to_mend(remedy)
        self._failed_at = self._clock()
        self._paused_until = self._failed_at + pause
        self._warned = reason
        self._release_calls()

    def replaced(self) -> None:
        """Let a successor take the calls."""
        self.is_replaced = True
        self._release_calls()

    def end(self, reason: str) -> None:
        """End the group: from now on each failure has this reason."""
        self.ended = UpstreamFailed(reason)

    def remove(self, reason: str) -> None:
        """End the group at once, with all its calls."""
        self.end(reason)
        self.upstream = None
        self._release_calls()

    def _hold_calls(self) -> None:
        """Let calls wait again, if nothing says what they get. Without this, they would look again and again."""
        if self.may_proceed.is_set() and self.upstream is None and self.failure is None:
            self.may_proceed = anyio.Event()

    def _release_calls(self) -> None:
        self.may_proceed.set()
        self.first_attempt_over.set()
