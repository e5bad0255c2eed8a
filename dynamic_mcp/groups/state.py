"""The state of a group: whether a call can start now, has to wait, or fails.

::

    STARTING -> READY or FAILED
    READY -> STARTING (the connection ends in good order, or crashes for the first time) or FAILED (crashes again)
    FAILED -> READY or FAILED (the next attempt, after the backoff) or STARTING (a call starts the next attempt)
    STARTING or FAILED -> SLOW -> STARTING (at the end of the slow attempt)
    any -> REPLACED or ENDED

A call waits while the group is starting, for the first time or after a first crash, at most ``START_WAIT`` seconds. While the client asks
its user to sign in, a call waits longer (``signing_in``). A start that takes longer goes on, and a call fails at once with what the server
said last. During the backoff after a failure, a call fails at once with the reason, unless ``try_again`` starts the next attempt. If the
server asked for a pause, no call starts one within it.
"""

from __future__ import annotations

import asyncio
import enum
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


class State(enum.Enum):
    """What a call of the group gets."""

    #: it waits
    STARTING = enum.auto()
    #: an error, because the start takes long; the start goes on
    SLOW = enum.auto()
    #: the connected upstream
    READY = enum.auto()
    #: the reason of the last failure, until the next attempt succeeds
    FAILED = enum.auto()
    #: the last connection, as long as there is one, and then the successor
    REPLACED = enum.auto()
    #: the reason of the end
    ENDED = enum.auto()


class GroupState:
    """The state of one group."""

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self.current = State.STARTING
        #: the connected upstream, or None
        self.upstream: Upstream | None = None
        #: why calls fail until the next attempt succeeds
        self.failure: UpstreamFailed | None = None
        #: why the group has ended for good
        self.ended: UpstreamFailed | None = None
        #: set once the first attempt has succeeded or failed, or no attempt follows
        self.first_attempt_over = anyio.Event()
        #: whether the client asks its user to sign in, for which calls wait
        self.asks_the_user = False
        #: set unless the group is starting
        self._may_proceed = anyio.Event()
        #: calls that wait
        self._waiting = 0
        #: the time of the clock at which the current attempt began; None without an attempt
        self._began: float | None = None
        #: starts the next attempt; None unless the group waits in the backoff after a failure
        self._hurry: Callable[[], None] | None = None
        #: whether a call does that even just after the failure
        self._hurries_at_once = False
        self._failed_at = 0.0
        #: the time of the clock until which the server asked for no attempt
        self._paused_until = 0.0
        self._last_output: Callable[[], str] = str
        self._warned: str | None = None

    # For calls

    async def connected(self) -> Upstream | None:
        """The connected upstream; waits while the group is starting. None if the group was replaced.

        Raises UpstreamFailed with the reason if the group has failed or ended, and StillStarting if the start takes too long.
        """
        while self.current is State.STARTING:
            await self._wait_for_start()
        if self.current is State.SLOW:
            raise self._still_starting()
        if self.current is State.FAILED:
            raise self._failure_with_pause()
        if self.current is State.ENDED:
            assert self.ended is not None
            raise self.ended.copy()
        return self.upstream

    async def _wait_for_start(self) -> None:
        """Wait until the group is not starting any more. Raises StillStarting after ``START_WAIT`` seconds."""
        self._waiting += 1
        try:
            with anyio.move_on_after(START_WAIT) as scope:
                await self._may_proceed.wait()
        finally:
            self._waiting -= 1
        if scope.cancelled_caught and not self.asks_the_user:
            raise self._still_starting()

    def is_wanted(self) -> bool:
        """Whether a call waits for the start."""
        return self._waiting > 0

    def try_again(self) -> None:
        """Start the next attempt, for which calls then wait, unless the last one failed just now."""
        if self.current is not State.FAILED or self._hurry is None:
            return
        if self._hurries_at_once or self._clock() >= max(self._failed_at + MIN_AGE, self._paused_until):
            self._hurry()
            self._hurry = None
            self._enter(State.STARTING)

    def _still_starting(self) -> StillStarting:
        if self._began is None:
            return StillStarting("it waits for its turn to start, because other servers are starting")
        since = self._clock() - self._began
        return StillStarting(
            f"it is still starting, since {since:.0f} s; try again later", self._last_output()
        )

    def _failure_with_pause(self) -> UpstreamFailed:
        """A copy of the failure, with the time that is left of a pause."""
        assert self.failure is not None
        left = self._paused_until - self._clock()
        if left <= 0.0:
            return self.failure.copy()
        text = f"{self.failure}; the next attempt is in {math.ceil(left)} s"
        return UpstreamFailed(text, self.failure.last_output).with_remedy(self.failure.remedy)

    # For the task that owns the upstream

    @contextmanager
    def attempt(self, last_output: Callable[[], str]) -> Iterator[None]:
        """One attempt to connect; after ``START_WAIT`` seconds calls wait no longer. ``last_output`` is what the server said last."""
        self._began, self._last_output = self._clock(), last_output
        timer = asyncio.get_running_loop().call_later(START_WAIT, self._set_slow)
        try:
            yield
        finally:
            timer.cancel()
            self._began = None
            if self.current is State.SLOW:
                # A sign-in may follow a slow start.
                self._enter(State.STARTING)

    def _set_slow(self) -> None:
        log.warning(
            "group %s is not available yet: its start takes longer than %g s, and goes on",
            self._name,
            START_WAIT,
        )
        self._enter(State.SLOW)

    @contextmanager
    def backoff(self, hurry: Callable[[], None], *, at_once: bool = False) -> Iterator[None]:
        """The delay after a failure; a call ends it by ``hurry``, with ``at_once`` even just after the failure."""
        self._hurry, self._hurries_at_once = hurry, at_once
        try:
            yield
        finally:
            self._hurry = None

    def set_ready(self, upstream: Upstream) -> None:
        """Let calls use this connected upstream."""
        self._warned = None
        self._enter(State.READY, upstream=upstream)

    def drop_upstream(self) -> None:
        """Let calls wait, because the connection is gone. After a failure they still get its reason."""
        if self.upstream is not None:
            self._enter(State.STARTING)

    def set_restarting(self, reason: str) -> None:
        """Let calls wait after a first crash, because the upstream restarts soon."""
        log.warning("group %s: %s; restarting it", self._name, reason)
        self._enter(State.STARTING)

    def set_failed(
        self,
        reason: str,
        last_output: str = "",
        remedy: str = "",
        *,
        level: int = logging.WARNING,
        pause: float = 0.0,
    ) -> None:
        """Fail calls with this reason, because the upstream cannot be connected, or was lost again.

        A repetition of the same reason is logged at info level, because it may come every 30 s for days. ``last_output`` and
        ``remedy`` are for callers only, not for the log. ``pause`` is the time in seconds for which the server asked for no attempt.
        """
        log.log(
            logging.INFO if reason == self._warned else level,
            "group %s is not available: %s",
            self._name,
            reason,
        )
        self._failed_at = self._clock()
        self._paused_until = self._failed_at + pause
        self._warned = reason
        self._enter(State.FAILED, failure=UpstreamFailed(reason, last_output).with_remedy(remedy))

    # For the group

    def leave(self, upstream: Upstream) -> None:
        """Let calls wait, because this connection is about to end."""
        if self.upstream is upstream:
            self.drop_upstream()

    def set_replaced(self) -> None:
        """Let a successor take the calls."""
        self._enter(State.REPLACED, upstream=self.upstream)

    def end(self, reason: str) -> None:
        """End the group at once: from now on each failure has this reason."""
        self.ended = UpstreamFailed(reason)
        self._enter(State.ENDED)

    def _enter(
        self, state: State, upstream: Upstream | None = None, failure: UpstreamFailed | None = None
    ) -> None:
        """Change the state. A group that was replaced or has ended stays in its state."""
        self.upstream, self.failure = upstream, failure
        if self.current in (State.REPLACED, State.ENDED):
            return
        self.current = state
        if state is not State.STARTING:
            self._may_proceed.set()
        elif self._may_proceed.is_set():
            self._may_proceed = anyio.Event()
        if state not in (State.STARTING, State.SLOW):
            self.first_attempt_over.set()
