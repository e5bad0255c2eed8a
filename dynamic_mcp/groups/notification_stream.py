"""One stream of notifications from a modern upstream: a ``subscriptions/listen`` request that stays open.

The stream is open from the acknowledgement of the upstream to the end of the request. An upstream, or a gateway, may end it at any time,
and it keeps nothing for the next one. So a request that ended is made again: soon after a stream that was open for a while, else after a
growing delay (MCP 2026-07-28, basic/patterns/subscriptions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamRefused
from dynamic_mcp.groups.backoff import SHORT, Backoff
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Upstream

ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
#: Errors for a resource that the upstream does not have: that of this revision, and that of the revisions before it.
NO_SUCH_RESOURCE = frozenset({jsonrpc.INVALID_PARAMS, jsonrpc.RESOURCE_NOT_FOUND})
#: Errors that the same request would get again.
_LASTING = NO_SUCH_RESOURCE | {jsonrpc.METHOD_NOT_FOUND, jsonrpc.INVALID_REQUEST}

#: Seconds before a stream that was open for a while opens again.
PAUSE = 0.1


class _Meta(msgspec.Struct):
    subscription: Raw = msgspec.field(name=era.SUBSCRIPTION_ID, default=Raw(b""))


class _Honored(msgspec.Struct):
    """What the upstream sends of what the request wants."""

    tools: Any = msgspec.field(name="toolsListChanged", default=False)
    resources: Any = msgspec.field(name="resourcesListChanged", default=False)
    prompts: Any = msgspec.field(name="promptsListChanged", default=False)


class _Acknowledgement(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)
    notifications: _Honored = msgspec.field(default_factory=_Honored)


class NotificationStream:
    """A stream of the notifications that ``wanted`` names. ``on_open`` is called each time it opens."""

    def __init__(
        self, group: str, upstream: Upstream, wanted: Mapping[str, Any], on_open: Callable[[], None]
    ) -> None:
        #: ends the stream
        self.scope = anyio.CancelScope()
        #: the resources among what it wants
        self.uris: list[str] = wanted.get("resourceSubscriptions", [])
        #: whether a request has ended, so that notifications may be lost
        self.has_gap = False
        self._group = group
        self._upstream = upstream
        self._params = msgspec.json.encode({"notifications": wanted})
        self._on_open = on_open
        #: the id of the request
        self._id: int | None = None
        #: what the upstream acknowledged; None while the stream is not open
        self._honored: _Honored | None = None
        #: when the stream opened last, by the clock of the loop
        self._opened: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the upstream has acknowledged the request, which has not ended since."""
        return self._honored is not None

    def announces(self, feature: str) -> bool:
        """Whether the upstream announces a change of this list on the stream now."""
        return self._honored is not None and getattr(self._honored, feature) is True

    def take_acknowledgement(self, params: Raw) -> None:
        """Note an acknowledgement of the upstream, which may be that of another stream."""
        try:
            found = msgspec.json.decode(params, type=_Acknowledgement)
        except msgspec.DecodeError:
            return
        if self._id is not None and whole_number(bytes(found.meta.subscription)) == self._id:
            is_new, self._honored = not self.is_open, found.notifications
            if is_new:
                self._opened = anyio.current_time()
                self._on_open()

    async def run(self) -> UpstreamRefused | None:
        """Keep the stream open until ``scope`` is cancelled. The refusal, if the upstream refuses such a stream."""
        backoff = Backoff()
        with self.scope:
            while True:
                backoff.connected()
                began = anyio.current_time()
                try:
                    await self._listen()
                except UpstreamError as error:
                    log.debug("group %s: the stream of notifications ended: %s", self._group, error)
                    if isinstance(error, UpstreamRefused) and error.code in _LASTING:
                        self.has_gap |= self._opened is not None
                        return error
                self.has_gap = True
                if self._opened is not None and began <= self._opened <= anyio.current_time() - SHORT:
                    backoff = Backoff()
                    await anyio.sleep(PAUSE)
                else:
                    backoff.after_crash()
                    await anyio.sleep(backoff.next)
        return None

    async def _listen(self) -> None:
        def begin(id: int) -> None:
            self._id = id

        try:
            await self._upstream.request("subscriptions/listen", self._params, Options(None, on_id=begin))
        finally:
            self._id = self._honored = None
