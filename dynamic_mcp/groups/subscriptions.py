"""The subscriptions to one upstream: changed lists, and the resources that clients subscribed to.

The subscriptions outlive the connection: each new connection makes them again, in the way of its era (``legacy_subscriptions``,
``modern_subscriptions``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamRefused
from dynamic_mcp.groups.background import Background
from dynamic_mcp.groups.holders import Holder, Holders
from dynamic_mcp.groups.legacy_subscriptions import LegacySubscriptions
from dynamic_mcp.groups.listing import Kind
from dynamic_mcp.groups.missed_updates import MissedUpdates
from dynamic_mcp.groups.modern_subscriptions import ModernSubscriptions
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.base import Upstream


class UpstreamSubscriptions:
    """The subscriptions of one group. ``connected`` waits for its upstream; ``timeout`` gives the seconds for one request.

    ``on_list_stream_open`` is called when a modern upstream begins to announce changes of its lists. Before that, changes
    went unnoticed. ``announce`` gets an update of each resource whose updates may be lost, once they arrive again.
    """

    def __init__(
        self,
        group: str,
        connected: Callable[[], Awaitable[Upstream]],
        timeout: Callable[[], float],
        on_list_stream_open: Callable[[], None],
        announce: Callable[[Message], None],
    ) -> None:
        self.holders = Holders()
        self._group = group
        self._connected = connected
        self._timeout = timeout
        self._on_list_stream_open = on_list_stream_open
        self._missed = MissedUpdates(announce, self.holders.__contains__)
        #: what the upstream got on the present connection; None without one
        self._connection: LegacySubscriptions | ModernSubscriptions | None = None
        #: has taken over the holders, because its group replaced this one
        self._successor: UpstreamSubscriptions | None = None

    # For clients

    async def subscribe(self, uri: str, holder: Holder) -> None:
        """Subscribe a holder to updates of a resource. Raises UpstreamError."""
        await self._connected()
        if self._successor is not None:
            await self._successor.subscribe(uri, holder)
            return
        # ``begin`` has come with the connection.
        assert self._connection is not None
        is_new = not self.holders.has(uri, holder)
        # Before the answer comes, so that the last other holder does not end the new subscription meanwhile.
        self.holders.add(uri, holder)
        try:
            await self._connection.subscribe(uri)
        except BaseException as error:
            current = self._current
            if is_new:
                current._drop(uri, holder)
            if current is self or not isinstance(error, UpstreamError):
                raise
            # This upstream ends soon, so its refusal means nothing.
            await current.subscribe(uri, holder)

    async def unsubscribe(self, uri: str, holder: Holder) -> None:
        """End ``subscribe``. The upstream gets a request after the last holder. Raises UpstreamRefused."""
        self._drop(uri, holder)
        if uri not in self.holders:
            await self._end(uri)

    def unsubscribe_later(self, uri: str, holder: Holder) -> None:
        """``unsubscribe`` in the background."""
        self._drop(uri, holder)
        if uri not in self.holders and self._connection is not None:
            self._connection.background.start(lambda: self._end(uri))

    def release(self, holder: Holder) -> None:
        """End every subscription of a holder in the background."""
        for uri in self.holders.uris_of(holder):
            self.unsubscribe_later(uri, holder)

    @property
    def _current(self) -> UpstreamSubscriptions:
        return self if self._successor is None else self._successor._current

    def _drop(self, uri: str, holder: Holder) -> None:
        if self.holders.drop(uri, holder):
            self._missed.forget(uri)

    async def _end(self, uri: str) -> None:
        """Tell the upstream that no holder is left. Raises UpstreamRefused. If the upstream is gone, the proxy only logs that."""
        connection = self._connection
        try:
            await self._connected()
            if connection is None:
                return
            await connection.settle(uri)
            if uri in self.holders or self._successor is not None or self._connection is not connection:
                # The upstream of the successor, or a new connection, got no such subscription.
                return
            await connection.unsubscribe(uri)
        except UpstreamError as error:
            if self._successor is None and isinstance(error, UpstreamRefused):
                raise
            log.debug(
                "group %s: the server did not hear of the end of a subscription: %s", self._group, error
            )

    # For the group

    def inherit(self, other: UpstreamSubscriptions) -> None:
        """Take over all holders of a predecessor, and the requests that it has not answered yet."""
        other._successor = self
        for uri, holders in other.holders.items():
            self.holders.add(uri, *holders)

    def begin(self, upstream: Upstream, tasks: TaskGroup) -> None:
        """Send all subscriptions to a connected upstream. ``tasks`` ends with the connection."""
        background = Background(self._group, tasks)
        shared = self._group, upstream, background, self.holders, self._missed
        if upstream.modern:
            self._connection = modern = ModernSubscriptions(*shared, lambda: self._successor is None)
            modern.listen_to_lists(self._on_list_stream_open)
        else:
            self._connection = LegacySubscriptions(*shared, self._timeout)
        self.restore()

    def restore(self) -> None:
        """Subscribe to all resources again, and announce those whose updates may be lost."""
        self._missed.note(self.holders)
        if self._connection is not None:
            self._connection.restore()

    def end(self) -> None:
        """Stop, because the connection and its task group are gone."""
        self._connection = None
        self._missed.stop()

    def on_stream_open(self) -> None:
        """Note that the stream of a legacy upstream is open, and that updates before that may be lost."""
        if isinstance(self._connection, LegacySubscriptions):
            self._connection.on_stream_open()

    def announces(self, kind: Kind) -> bool:
        """Whether a modern upstream announces a change of this list now."""
        return isinstance(self._connection, ModernSubscriptions) and self._connection.announces(kind)

    def take_acknowledgement(self, params: Raw) -> None:
        """Note that a modern upstream has acknowledged one of the streams."""
        if isinstance(self._connection, ModernSubscriptions):
            self._connection.take_acknowledgement(params)
