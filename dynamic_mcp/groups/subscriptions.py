"""The subscriptions to one upstream: changed lists, and the resources that clients subscribed to.

The subscriptions outlive the connection: each new connection makes them again. A legacy upstream gets one request for each resource. A
modern upstream has one stream for the lists and one for all resources (``notification_stream``), or several if it refuses some resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.groups.listing import Kind
from dynamic_mcp.groups.missed_updates import MissedUpdates
from dynamic_mcp.groups.notification_stream import NO_SUCH_RESOURCE, NotificationStream
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.base import Options, Upstream

_FEATURES = ("tools", "resources", "prompts")
#: Seconds that the announcement of lost updates waits for the stream of a new session, so that nothing is lost after it.
HEARING_WAIT = 2.0


class ResourceSubscriptions:
    """The subscriptions of one group. ``connected`` waits for its upstream; ``timeout`` gives the seconds for one request.

    ``on_hearing`` is called when a modern upstream begins to announce changes of its lists. Before that, changes went unnoticed.
    ``announce`` gets an update of each resource whose updates may be lost, once they arrive again.
    """

    def __init__(
        self,
        group: str,
        connected: Callable[[], Awaitable[Upstream]],
        timeout: Callable[[], float],
        on_hearing: Callable[[], None],
        announce: Callable[[Message], None],
    ) -> None:
        #: who wants the updates of each resource: a session, or an open listen request
        self.holders: dict[str, set[object]] = {}
        self._group = group
        self._connected = connected
        self._timeout = timeout
        self._on_hearing = on_hearing
        self._missed = MissedUpdates(announce, lambda uri: uri in self.holders)
        #: set when the stream of a legacy upstream opens; None while nothing waits for it
        self._heard: asyncio.Event | None = None
        #: has taken over the holders, because its group replaced this one
        self._successor: ResourceSubscriptions | None = None
        #: the unsubscriptions that the upstream has not answered yet
        self._unanswered: dict[str, asyncio.Event] = {}
        #: runs background work while the upstream is connected
        self._tasks: TaskGroup | None = None
        #: the stream for the lists of a modern upstream
        self._lists: NotificationStream | None = None
        #: the streams for the resources: one, or several if the upstream refuses some resources; and the open streams that they replace
        self._updates: list[NotificationStream] = []
        self._replaced: list[NotificationStream] = []
        #: the resources that the upstream refused in a stream of their own
        self._refused: set[str] = set()
        self._will_replace_updates = False

    def has(self, uri: str, holder: object) -> bool:
        """Whether this holder has the subscription to a resource."""
        return holder in self.holders.get(uri, ())

    def covers(self, uri: str) -> bool:
        """Whether there is a subscription to a resource, or to one that contains it."""
        return uri in self.holders or any(_contains(parent, uri) for parent in self.holders)

    def holders_of(self, uri: str) -> set[object]:
        """The holders of these subscriptions."""
        return {
            holder for parent, holders in self.holders.items() if _contains(parent, uri) for holder in holders
        }

    async def subscribe(self, uri: str, holder: object) -> None:
        """Subscribe a holder to updates of a resource. Raises UpstreamError."""
        upstream = await self._connected()
        if self._successor is not None:
            await self._successor.subscribe(uri, holder)
            return
        is_new = not self.has(uri, holder)
        # Before the answer comes, so that the last other holder does not end the new subscription meanwhile.
        self.holders.setdefault(uri, set()).add(holder)
        try:
            if not upstream.modern:
                await self._unsubscribed(uri)
                await self._request(upstream, "resources/subscribe", uri)
        except BaseException as error:
            current = self._current
            if is_new:
                current._drop(uri, holder)
            if current is self or not isinstance(error, UpstreamError):
                raise
            # This upstream ends soon, so its refusal means nothing.
            await current.subscribe(uri, holder)
        else:
            # The upstream may have the resource now.
            self._refused.discard(uri)
            self._replace_updates(upstream)

    async def unsubscribe(self, uri: str, holder: object) -> None:
        """End ``subscribe``. The upstream hears of it after the last holder. Raises UpstreamRefused."""
        self._drop(uri, holder)
        if uri not in self.holders:
            await self._end(uri)

    def unsubscribe_later(self, uri: str, holder: object) -> None:
        """``unsubscribe`` in the background."""
        self._drop(uri, holder)
        if uri not in self.holders:
            self._in_background(lambda: self._end(uri))

    def release(self, holder: object) -> None:
        """End every subscription of a holder in the background."""
        for uri in [uri for uri, holders in self.holders.items() if holder in holders]:
            self.unsubscribe_later(uri, holder)

    def inherit(self, other: ResourceSubscriptions) -> None:
        """Take over all holders of a predecessor, and the requests that it has not answered yet."""
        other._successor = self
        for uri, holders in other.holders.items():
            self.holders.setdefault(uri, set()).update(holders)

    @property
    def _current(self) -> ResourceSubscriptions:
        return self if self._successor is None else self._successor._current

    def _drop(self, uri: str, holder: object) -> None:
        holders = self.holders.get(uri, set())
        holders.discard(holder)
        if not holders:
            self.holders.pop(uri, None)
            self._missed.forget(uri)

    async def _end(self, uri: str) -> None:
        """Tell the upstream that no holder is left. Raises UpstreamRefused. If the upstream is gone, the proxy only logs that."""
        connection = self._tasks
        try:
            upstream = await self._connected()
            await self._unsubscribed(uri)
            if uri in self.holders or self._successor is not None or self._tasks is not connection:
                # The upstream of the successor, or a new connection, got no such subscription.
                return
            if not upstream.modern:
                await self._unsubscribe(upstream, uri)
        except UpstreamError as error:
            if self._successor is None and isinstance(error, UpstreamRefused):
                raise
            log.debug(
                "group %s: the server did not hear of the end of a subscription: %s", self._group, error
            )
        else:
            self._replace_updates(upstream)

    async def _unsubscribe(self, upstream: Upstream, uri: str) -> None:
        self._unanswered[uri] = answered = asyncio.Event()
        try:
            await self._request(upstream, "resources/unsubscribe", uri)
        finally:
            del self._unanswered[uri]
            answered.set()

    async def _unsubscribed(self, uri: str) -> None:
        """Wait until no unsubscription is on its way. Over HTTP a later request for the resource could overtake it."""
        while (answered := self._unanswered.get(uri)) is not None:
            await answered.wait()

    def begin(self, upstream: Upstream, tasks: TaskGroup) -> None:
        """Send all subscriptions to a connected upstream. ``tasks`` ends with the connection."""
        self._tasks = tasks
        if upstream.modern:
            features = [name for name in _FEATURES if name in upstream.agreed.capabilities]
            if features:
                wanted = {f"{name}ListChanged": True for name in features}
                self._lists = NotificationStream(self._group, upstream, wanted, self._on_hearing)
                self._in_background(self._lists.run)
        self.restore(upstream)

    def restore(self, upstream: Upstream) -> None:
        """Subscribe to all resources again, and announce those whose updates may be lost."""
        self._missed.note(self.holders)
        self._replace_updates(upstream)
        if self.holders and not upstream.modern:
            self._heard = heard = asyncio.Event()
            self._in_background(lambda: self._restore_all(upstream, heard))

    def on_hearing(self) -> None:
        """Note that the stream of a legacy upstream is open, and that updates before that may be lost."""
        if self._heard is not None:
            self._heard.set()
        elif self._tasks is not None:
            self._missed.note(self.holders)
            self._missed.over(self.holders)

    def end(self) -> None:
        """Stop, because the connection and its task group are gone."""
        self._tasks = self._lists = self._heard = None
        self._updates, self._replaced = [], []
        self._refused.clear()
        self._will_replace_updates = False
        self._missed.stop()

    def hear_of(self, kind: Kind) -> bool:
        """Whether a modern upstream announces a change of this list now."""
        return self._lists is not None and self._lists.hears_of(kind.feature)

    def take_acknowledgement(self, params: Raw) -> None:
        """Note that a modern upstream has acknowledged one of the streams."""
        for stream in (*self._replaced, *self._updates, *([] if self._lists is None else [self._lists])):
            stream.take_acknowledgement(params)

    async def _restore_all(self, upstream: Upstream, heard: asyncio.Event) -> None:
        await self._subscribe_all(upstream)
        if not upstream.hears:
            with anyio.move_on_after(HEARING_WAIT):
                await heard.wait()
        if self._heard is heard:
            # No newer session has begun, which makes the subscriptions again.
            self._heard = None
            self._missed.over(self.holders)

    async def _subscribe_all(self, upstream: Upstream) -> None:
        uris, refusals = sorted(self.holders), []
        for uri in uris:
            if uri in self.holders:
                try:
                    await self._request(upstream, "resources/subscribe", uri)
                except UpstreamError as error:
                    refusals.append(error)
        if refusals:
            text = "group %s: clients miss updates, because %d of %d subscriptions could not be restored: %s"
            log.warning(text, self._group, len(refusals), len(uris), refusals[0])

    async def _request(self, upstream: Upstream, method: str, uri: str) -> None:
        try:
            await upstream.request(method, msgspec.json.encode({"uri": uri}), Options(self._timeout()))
        except UpstreamTimeout as error:
            raise error.by(self._group, "resources") from None

    def _replace_updates(self, upstream: Upstream) -> None:
        """Open a stream for the resources of now in the background, one for all subscriptions that a client makes or ends at once."""

        async def replace() -> None:
            self._will_replace_updates = False
            self._replace_updates_now(upstream)

        if upstream.modern and not self._will_replace_updates and self._tasks is not None:
            self._will_replace_updates = True
            self._in_background(replace)

    def _replace_updates_now(self, upstream: Upstream) -> None:
        """Open a stream for the resources of now. The previous one stays open until then, so no update is lost between them."""
        if self._successor is not None:
            return
        wanted = sorted(self.holders.keys() - self._refused)
        before, self._replaced, self._updates = [*self._replaced, *self._updates], [], []
        for stream in before:
            if stream.is_open and wanted:
                self._replaced.append(stream)
            else:
                self._cancel(stream)
        if wanted:
            self._open_updates(upstream, wanted)

    def _open_updates(self, upstream: Upstream, uris: list[str]) -> None:
        stream = NotificationStream(
            self._group, upstream, {"resourceSubscriptions": uris}, self._announce_gaps
        )
        self._updates.append(stream)

        async def run() -> None:
            refusal = await stream.run()
            if refusal is not None and stream in self._updates:
                self._note_gap(stream)
                self._updates.remove(stream)
                self._take_refusal(upstream, uris, refusal)

        self._in_background(run)

    def _take_refusal(self, upstream: Upstream, uris: list[str], refusal: UpstreamRefused) -> None:
        """Look for the refused resources by halves, so that the others get their updates."""
        if refusal.code in NO_SUCH_RESOURCE and len(uris) > 1:
            middle = len(uris) // 2
            self._open_updates(upstream, uris[:middle])
            self._open_updates(upstream, uris[middle:])
            return
        report = log.debug if self._refused else log.warning
        report(
            "group %s: clients miss updates, because the server refuses a subscription: %s",
            self._group,
            refusal,
        )
        self._refused.update(uris)
        self._announce_gaps()
        self._missed.over(uris)

    def _announce_gaps(self) -> None:
        """Announce the updates that are lost, of each resource with an open stream now. Another stream than that one may have the gap."""
        self._end_replaced()
        streams = [*self._replaced, *self._updates]
        for stream in streams:
            self._note_gap(stream)
        for stream in streams:
            if stream.is_open:
                self._missed.over(stream.uris)

    def _cancel(self, stream: NotificationStream) -> None:
        self._note_gap(stream)
        stream.scope.cancel()

    def _note_gap(self, stream: NotificationStream) -> None:
        if stream.has_gap:
            stream.has_gap = False
            self._missed.note(stream.uris)

    def _end_replaced(self) -> None:
        """End the streams of before, once the new ones are open."""
        if self._updates and all(stream.is_open for stream in self._updates):
            for stream in self._replaced:
                self._cancel(stream)
            self._replaced.clear()

    def _in_background(self, work: Callable[[], Awaitable[object]]) -> None:
        """Start work that ends with the connection at the latest; without a connection, start nothing."""

        async def quietly() -> None:
            try:
                await work()
            except UpstreamError as error:
                log.debug("group %s: %s", self._group, error)
            except Exception as error:
                # An unexpected error must not end the connection.
                report_bug(f"group {self._group}", error)

        if self._tasks is not None:
            self._tasks.start_soon(quietly)


def _contains(parent: str, uri: str) -> bool:
    """Whether a resource is another one, or lies within it: its path goes on, or it has a query or a fragment.

    A server may name such a sub-resource in the update of a resource (MCP 2025-11-25, schema, ``ResourceUpdatedNotification``).
    """
    return uri.startswith(parent) and (
        uri == parent or parent.endswith("/") or uri[len(parent)] in ("/", "?", "#")
    )
