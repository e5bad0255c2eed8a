"""The subscriptions on one connection with a modern upstream: changed lists, and resources.

The upstream has one stream for the lists and one for all resources (``notification_stream``), or several if it refuses some resources.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from dynamic_mcp.errors import UpstreamRefused
from dynamic_mcp.groups.background import Background
from dynamic_mcp.groups.holders import Holders
from dynamic_mcp.groups.listing import ANNOUNCED, Kind
from dynamic_mcp.groups.missed_updates import MissedUpdates
from dynamic_mcp.groups.notification_stream import NO_SUCH_RESOURCE, NotificationStream
from dynamic_mcp.log import log
from dynamic_mcp.upstream.base import Upstream


class ModernSubscriptions:
    """Keeps the streams open. ``may_open`` says whether the group still opens streams for ``holders``."""

    def __init__(
        self,
        group: str,
        upstream: Upstream,
        background: Background,
        holders: Holders,
        missed: MissedUpdates,
        may_open: Callable[[], bool],
    ) -> None:
        self.background = background
        self._group = group
        self._upstream = upstream
        self._holders = holders
        self._missed = missed
        self._may_open = may_open
        #: the stream for the lists
        self._lists: NotificationStream | None = None
        #: the streams for the resources: one, or several if the upstream refuses some resources; and the open streams that they replace
        self._updates: list[NotificationStream] = []
        self._replaced: list[NotificationStream] = []
        #: the resources that the upstream refused in a stream of their own
        self._refused: set[str] = set()
        self._will_replace = False

    def listen_to_lists(self, on_open: Callable[[], None]) -> None:
        """Open the stream for the lists that the upstream has. ``on_open`` is called each time it opens."""
        has = self._upstream.agreed.capabilities
        if wanted := {f"{kind.feature}ListChanged": True for kind in ANNOUNCED if kind.feature in has}:
            self._lists = NotificationStream(self._group, self._upstream, wanted, on_open)
            self.background.start(self._lists.run)

    def announces(self, kind: Kind) -> bool:
        """Whether the upstream announces a change of this list now."""
        return self._lists is not None and self._lists.announces(kind.feature)

    def take_acknowledgement(self, params: Raw) -> None:
        """Note that the upstream has acknowledged one of the streams."""
        for stream in (*self._replaced, *self._updates, *([] if self._lists is None else [self._lists])):
            stream.take_acknowledgement(params)

    async def subscribe(self, uri: str) -> None:
        """Open a stream with this resource, also if the upstream did not have it before."""
        self._refused.discard(uri)
        self.restore()

    async def unsubscribe(self, uri: str) -> None:
        """End ``subscribe``."""
        self.restore()

    async def settle(self, uri: str) -> None:
        """Nothing can overtake the end of a subscription, because it is another stream."""

    def restore(self) -> None:
        """Open a stream for the present subscriptions in the background, one for all that a client makes or ends at once."""

        async def replace() -> None:
            self._will_replace = False
            self._replace_updates()

        if not self._will_replace:
            self._will_replace = True
            self.background.start(replace)

    def _replace_updates(self) -> None:
        """Open a stream for the present subscriptions. The previous one stays open until then, so no update is lost between them."""
        if not self._may_open():
            return
        wanted = sorted(self._holders.keys() - self._refused)
        before, self._replaced, self._updates = [*self._replaced, *self._updates], [], []
        for stream in before:
            if stream.is_open and wanted:
                self._replaced.append(stream)
            else:
                self._cancel(stream)
        if wanted:
            self._open(wanted)

    def _open(self, uris: list[str]) -> None:
        wanted = {"resourceSubscriptions": uris}
        stream = NotificationStream(self._group, self._upstream, wanted, self._announce_gaps)
        self._updates.append(stream)

        async def run() -> None:
            refusal = await stream.run()
            if refusal is not None and stream in self._updates:
                self._note_gap(stream)
                self._updates.remove(stream)
                self._take_refusal(uris, refusal)

        self.background.start(run)

    def _take_refusal(self, uris: list[str], refusal: UpstreamRefused) -> None:
        """Look for the refused resources by halves, so that the others get their updates."""
        if refusal.code in NO_SUCH_RESOURCE and len(uris) > 1:
            middle = len(uris) // 2
            self._open(uris[:middle])
            self._open(uris[middle:])
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
        """Announce the lost updates of each resource that has an open stream now. The gap may be that of another stream."""
        self._end_replaced()
        streams = [*self._replaced, *self._updates]
        for stream in streams:
            self._note_gap(stream)
        for stream in streams:
            if stream.is_open:
                self._missed.over(stream.uris)

    def _end_replaced(self) -> None:
        """End the replaced streams, once the new ones are open."""
        if self._updates and all(stream.is_open for stream in self._updates):
            for stream in self._replaced:
                self._cancel(stream)
            self._replaced.clear()

    def _cancel(self, stream: NotificationStream) -> None:
        self._note_gap(stream)
        stream.scope.cancel()

    def _note_gap(self, stream: NotificationStream) -> None:
        if stream.has_gap:
            stream.has_gap = False
            self._missed.note(stream.uris)
