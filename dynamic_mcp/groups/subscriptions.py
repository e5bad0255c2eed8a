"""The subscriptions to one upstream: changed lists, and the resources that clients subscribed to.

The subscriptions outlive the connection: each new connection makes them again. A legacy upstream gets one request for each resource. A
modern upstream gets one open request for everything, which a change replaces (MCP 2026-07-28, basic/patterns/subscriptions).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import msgspec
from anyio.abc import TaskGroup

from dynamic_mcp.errors import UpstreamError, UpstreamTimeout
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.upstream.base import Options, Upstream

_FEATURES = ("tools", "resources", "prompts")


class ResourceSubscriptions:
    """The subscriptions of one group. ``connected`` waits for its upstream; ``timeout`` gives the seconds for one request."""

    def __init__(
        self, group: str, connected: Callable[[], Awaitable[Upstream]], timeout: Callable[[], float]
    ) -> None:
        #: who wants the updates of each resource: a session, or an open listen request
        self.holders: dict[str, set[object]] = {}
        self._group = group
        self._connected = connected
        self._timeout = timeout
        #: runs background work while the upstream is connected
        self._tasks: TaskGroup | None = None
        self._listening: anyio.CancelScope | None = None

    def has(self, uri: str, holder: object) -> bool:
        """Whether this holder has the subscription to a resource."""
        return holder in self.holders.get(uri, ())

    async def subscribe(self, uri: str, holder: object) -> None:
        """Subscribe a holder to updates of a resource. Raises UpstreamError."""
        upstream = await self._connected()
        is_new = not self.has(uri, holder)
        # Before the answer comes, so that the last other holder does not end the new subscription meanwhile.
        self.holders.setdefault(uri, set()).add(holder)
        try:
            if not upstream.modern:
                await self._request(upstream, "resources/subscribe", uri)
        except BaseException:
            if is_new:
                self._drop(uri, holder)
            raise
        self._restart_listening(upstream)

    async def unsubscribe(self, uri: str, holder: object) -> None:
        """End ``subscribe``. The upstream hears of it after the last holder. Raises UpstreamError."""
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
        """Take over all holders of a predecessor."""
        for uri, holders in other.holders.items():
            self.holders.setdefault(uri, set()).update(holders)

    def _drop(self, uri: str, holder: object) -> None:
        holders = self.holders.get(uri, set())
        holders.discard(holder)
        if not holders:
            self.holders.pop(uri, None)

    async def _end(self, uri: str) -> None:
        """Tell the upstream that no holder is left."""
        upstream = await self._connected()
        if uri in self.holders:
            return
        if not upstream.modern:
            await self._request(upstream, "resources/unsubscribe", uri)
        self._restart_listening(upstream)

    def begin(self, upstream: Upstream, tasks: TaskGroup) -> None:
        """Send all subscriptions to a connected upstream. ``tasks`` ends with the connection."""
        self._tasks = tasks
        self.restore(upstream)

    def restore(self, upstream: Upstream) -> None:
        """Send all subscriptions again."""
        self._restart_listening(upstream)
        if self.holders and not upstream.modern:
            self._in_background(lambda: self._subscribe_all(upstream))

    def end(self) -> None:
        """Stop, because the connection and its task group are gone."""
        self._tasks = self._listening = None

    async def _subscribe_all(self, upstream: Upstream) -> None:
        for uri in sorted(self.holders):
            await self._request(upstream, "resources/subscribe", uri)

    async def _request(self, upstream: Upstream, method: str, uri: str) -> None:
        try:
            await upstream.request(method, msgspec.json.encode({"uri": uri}), Options(self._timeout()))
        except UpstreamTimeout as error:
            raise error.by(self._group, "resources") from None

    def _restart_listening(self, upstream: Upstream) -> None:
        if not upstream.modern:
            return
        before = self._listening
        self._listening = self._in_background(lambda: self._listen(upstream))
        if before is not None:
            before.cancel()

    async def _listen(self, upstream: Upstream) -> None:
        listen_filter: dict[str, object] = {
            f"{name}ListChanged": True for name in _FEATURES if name in upstream.agreed.capabilities
        }
        if self.holders:
            listen_filter["resourceSubscriptions"] = sorted(self.holders)
        if listen_filter:
            params = msgspec.json.encode({"notifications": listen_filter})
            await upstream.request("subscriptions/listen", params, Options(None))

    def _in_background(self, work: Callable[[], Awaitable[object]]) -> anyio.CancelScope | None:
        """Start work that ends with the connection at the latest; without a connection, start nothing."""
        if self._tasks is None:
            return None
        scope = anyio.CancelScope()

        async def quietly() -> None:
            with scope:
                try:
                    await work()
                except UpstreamError as error:
                    log.debug("group %s: %s", self._group, error)
                except Exception as error:
                    # An unexpected error must not end the connection.
                    report_bug(f"group {self._group}", error)

        self._tasks.start_soon(quietly)
        return scope
