"""The subscriptions to resources on one connection with a legacy upstream: one request for each resource."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import msgspec

from dynamic_mcp.errors import UpstreamError, UpstreamTimeout
from dynamic_mcp.groups.background import Background
from dynamic_mcp.groups.holders import Holders
from dynamic_mcp.groups.missed_updates import MissedUpdates
from dynamic_mcp.log import log
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Upstream

#: Seconds that the announcement of lost updates waits for the stream of a new session, so that nothing is lost after it.
STREAM_WAIT = 2.0


class LegacySubscriptions:
    """Keeps the upstream informed of ``holders``. ``timeout`` gives the seconds for one request."""

    def __init__(
        self,
        group: str,
        upstream: Upstream,
        background: Background,
        holders: Holders,
        missed: MissedUpdates,
        timeout: Callable[[], float],
    ) -> None:
        self.background = background
        self._group = group
        self._upstream = upstream
        self._holders = holders
        self._missed = missed
        self._timeout = timeout
        #: the unsubscriptions that the upstream has not answered yet
        self._unanswered: dict[str, asyncio.Event] = {}
        #: set when the stream of the upstream opens; None while no restoration waits for it
        self._opened: asyncio.Event | None = None

    async def subscribe(self, uri: str) -> None:
        """Subscribe to a resource. Raises UpstreamError."""
        await self.settle(uri)
        await self._request("resources/subscribe", uri)

    async def unsubscribe(self, uri: str) -> None:
        """End ``subscribe``. Raises UpstreamError."""
        self._unanswered[uri] = answered = asyncio.Event()
        try:
            await self._request("resources/unsubscribe", uri)
        finally:
            del self._unanswered[uri]
            answered.set()

    async def settle(self, uri: str) -> None:
        """Wait until no unsubscription is on its way. Over HTTP a later request for the resource could overtake it."""
        while (answered := self._unanswered.get(uri)) is not None:
            await answered.wait()

    def restore(self) -> None:
        """Subscribe to all resources in the background, and announce those whose updates may be lost."""
        if self._holders:
            self._opened = opened = asyncio.Event()
            self.background.start(lambda: self._restore(opened))

    def on_stream_open(self) -> None:
        """Note that the stream of the upstream is open, and that updates before that may be lost."""
        if self._opened is not None:
            self._opened.set()
        else:
            self._missed.note(self._holders)
            self._missed.over(self._holders)

    async def _restore(self, opened: asyncio.Event) -> None:
        try:
            await self._subscribe_all()
            if not self._upstream.delivers_notifications:
                with anyio.move_on_after(STREAM_WAIT):
                    await opened.wait()
        finally:
            # A newer session makes the subscriptions again, and announces.
            is_last = self._opened is opened
            if is_last:
                self._opened = None
        if is_last:
            self._missed.over(self._holders)

    async def _subscribe_all(self) -> None:
        uris, refusals = sorted(self._holders), []
        for uri in uris:
            if uri in self._holders:
                try:
                    await self._request("resources/subscribe", uri)
                except UpstreamError as error:
                    refusals.append(error)
        if refusals:
            text = "group %s: clients miss updates, because %d of %d subscriptions could not be restored: %s"
            log.warning(text, self._group, len(refusals), len(uris), refusals[0])

    async def _request(self, method: str, uri: str) -> None:
        try:
            await self._upstream.request(method, msgspec.json.encode({"uri": uri}), Options(self._timeout()))
        except UpstreamTimeout as error:
            raise error.by(self._group, "resources") from None
