"""Whether a group can be used now, and what a caller has to wait for.

::

    starting -> ready -> (crash) starting -> ...
    starting -> failed -> (backoff) ready or failed
    any      -> replaced by a successor, or ended

A caller waits while the group is starting, for the first time or after a first crash. It fails at once, with the reason, while the group
has failed and is being retried.
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
        #: the connected upstream, if there is one now
        self.upstream: Upstream | None = None
        #: why the group cannot be used while it is being retried
        self.failure: UpstreamFailed | None = None
        #: why the group will never be used again
        self.ended: UpstreamFailed | None = None
        #: whether a successor takes the calls
        self.is_replaced = False
        #: set while callers need not wait: the group is ready, has failed, has ended or was replaced
        self.settled = anyio.Event()
        self._warned: str | None = None

    async def connected(self) -> Upstream | None:
        """The connected upstream; waits while the group is starting. None when the group was replaced.

        Raises UpstreamFailed with the reason when the group has failed or ended.
        """
        while self.upstream is None and not self.is_replaced:
            if (reason := self.ended or self.failure) is not None:
                raise reason.copy()
            await self.settled.wait()
        return self.upstream

    def ready(self, upstream: Upstream) -> None:
        """The upstream is connected."""
        self.upstream = upstream
        self.failure = self._warned = None
        self.settled.set()

    def restarting(self, reason: str) -> None:
        """The upstream was lost for the first time and comes back soon: callers wait."""
        log.warning("group %s: %s; it is being started again", self._name, reason)
        self.upstream = self.failure = None
        self.settled = anyio.Event()

    def failed(self, reason: str, stderr_tail: str = "", *, level: int = logging.WARNING) -> None:
        """The upstream cannot be connected, or was lost again: callers fail with this reason.

        The same reason again is logged at info level: it may come every 30 s for days. ``stderr_tail`` is for callers only.
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
        """A successor takes the calls from now on."""
        self.is_replaced = True
        self.settled.set()

    def end(self, reason: str) -> None:
        """The group will not be used again: what fails from now on fails with this reason."""
        self.ended = UpstreamFailed(reason)

    def remove(self, reason: str) -> None:
        """The group is gone at once, and so is its upstream."""
        self.end(reason)
        self.upstream = None
        self.settled.set()
