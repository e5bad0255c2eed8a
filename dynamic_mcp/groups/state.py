"""The state of a group: whether a call can start now, has to wait, or fails.

::

    starting -> ready -> (crash) starting -> ...
    starting -> failed -> (backoff) ready or failed
    any      -> replaced by a successor, or ended

A call waits while the group is starting, for the first time or after a first crash. During the backoff after a failure, a call fails
at once with the reason.
"""

from __future__ import annotations

import logging

import anyio

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.upstream.base import Upstream


class GroupState:
    """The state of one group."""

    def __init__(self, name: str) -> None:
        self._name = name
        #: the connected upstream, or None
        self.upstream: Upstream | None = None
        #: why calls fail until the next attempt succeeds
        self.failure: UpstreamFailed | None = None
        #: why the group has ended for good
        self.ended: UpstreamFailed | None = None
        #: whether a successor takes the calls
        self.is_replaced = False
        #: set unless calls have to wait: the group is ready, has failed, has ended or was replaced
        self.settled = anyio.Event()
        self._warned: str | None = None

    async def connected(self) -> Upstream | None:
        """The connected upstream; waits while the group is starting. None if the group was replaced.

        Raises UpstreamFailed with the reason if the group has failed or ended.
        """
        while self.upstream is None and not self.is_replaced:
            if (reason := self.ended or self.failure) is not None:
                raise reason.copy()
            await self.settled.wait()
        return self.upstream

    def ready(self, upstream: Upstream) -> None:
        """Let calls use this connected upstream."""
        self.upstream = upstream
        self.failure = self._warned = None
        self.settled.set()

    def restarting(self, reason: str) -> None:
        """Let calls wait after a first crash, because the upstream restarts soon."""
        log.warning("group %s: %s; restarting it", self._name, reason)
        self.upstream = self.failure = None
        self.settled = anyio.Event()

    def failed(self, reason: str, stderr_tail: str = "", *, level: int = logging.WARNING) -> None:
        """Fail calls with this reason, because the upstream cannot be connected, or was lost again.

        A repetition of the same reason is logged at info level, because it may come every 30 s for days. ``stderr_tail`` is for
        callers only, not for the log.
        """
        log.log(
            logging.INFO if reason == self._warned else level,
            "group %s is not available: %s",
            self._name,
            reason,
        )
        self.upstream = None
        self.failure = UpstreamFailed(reason, stderr_tail)
        self._warned = reason
        self.settled.set()

    def replaced(self) -> None:
        """Let a successor take the calls."""
        self.is_replaced = True
        self.settled.set()

    def end(self, reason: str) -> None:
        """End the group: from now on each failure has this reason."""
        self.ended = UpstreamFailed(reason)

    def remove(self, reason: str) -> None:
        """End the group at once, with all its calls."""
        self.end(reason)
        self.upstream = None
        self.settled.set()
