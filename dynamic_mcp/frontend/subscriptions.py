"""The subscriptions of the client, in both eras.

A legacy client subscribes to resources one by one. A modern client sends ``subscriptions/listen``, a request that stays open (MCP
2026-07-28, basic/patterns/subscriptions). Its first message acknowledges the accepted subscriptions; every message carries the id
of the request. The request ends when the client cancels it, or with a result when the proxy ends.
"""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamTimeout
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import ANNOUNCED, TOOLS
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc

UPDATED = "notifications/resources/updated"


class ListenFilter(msgspec.Struct):
    """The ``notifications`` member of a listen request."""

    tools: bool = msgspec.field(name="toolsListChanged", default=False)
    resources: bool = msgspec.field(name="resourcesListChanged", default=False)
    prompts: bool = msgspec.field(name="promptsListChanged", default=False)
    uris: list[str] = msgspec.field(name="resourceSubscriptions", default_factory=list)


class OpenListenRequest:
    """A ``subscriptions/listen`` of a modern client that is open."""

    def __init__(self, call: Call, methods: frozenset[str], uris: frozenset[str]) -> None:
        #: holds the subscriptions to the resources
        self.call = call
        self.uris = uris
        #: set at the end of the client or of the proxy
        self.closed = asyncio.Event()
        self._methods = methods

    def wants(self, method: str) -> bool:
        """Whether it subscribed to this notification of a list."""
        return method in self._methods

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification that carries the id of the request."""
        params = jsonrpc.with_meta(params, {era.SUBSCRIPTION_ID: Raw(self.call.incoming.id)})
        self.call.incoming.send(jsonrpc.notification(method, params))

    def acknowledge(self) -> None:
        """Confirm the accepted subscriptions."""
        accepted: dict[str, object] = {
            f"{kind.feature}ListChanged": True for kind in ANNOUNCED if kind.list_changed in self._methods
        }
        if self.uris:
            accepted["resourceSubscriptions"] = sorted(self.uris)
        self.notify(
            "notifications/subscriptions/acknowledged", msgspec.json.encode({"notifications": accepted})
        )


class Subscriptions:
    """Handles the subscriptions of the client, and subscribes to the upstreams."""

    def __init__(self, session: ClientSession, catalog: Catalog, requests: list[OpenListenRequest]) -> None:
        self._session = session
        self._catalog = catalog
        self._requests = requests

    async def subscribe(self, call: Call) -> bytes:
        """Handle ``resources/subscribe``. Raises Refusal and UpstreamError."""
        uri, group = await self._catalog.read_owner(call)
        await group.subscriptions.subscribe(uri, self._session)
        return b"{}"

    async def unsubscribe(self, call: Call) -> bytes:
        """Handle ``resources/unsubscribe``. A server that is down is no failure. Raises Refusal and UpstreamRefused."""
        uri, name = call.read("uri", str), call.group_name()
        groups = [
            group for group in self._catalog.subscribed(uri, self._session) if name in (None, group.name)
        ]
        if not groups:
            # The upstream decides whether this is an error.
            groups = [(await self._catalog.read_owner(call))[1]]
        await asyncio.gather(*(group.subscriptions.unsubscribe(uri, self._session) for group in groups))
        return b"{}"

    async def listen(self, call: Call) -> bytes:
        """Send notifications until cancelled, or until the end of the proxy; the result. Raises Refusal."""
        listen_filter = call.read("notifications", ListenFilter, ListenFilter())
        subscribed: dict[str, Group] = {}
        try:
            await self._subscribe_all(listen_filter.uris, call, subscribed)
            methods = {
                kind.list_changed
                for kind in ANNOUNCED
                if getattr(listen_filter, kind.feature) and (kind is TOOLS or self._catalog.has(kind))
            }
            request = OpenListenRequest(call, frozenset(methods), frozenset(subscribed))
            request.acknowledge()
            self._requests.append(request)
            try:
                await request.closed.wait()
            finally:
                self._requests.remove(request)
        finally:
            for uri, group in subscribed.items():
                group.subscriptions.unsubscribe_later(uri, call)
        return msgspec.json.encode({"_meta": {era.SUBSCRIPTION_ID: Raw(call.incoming.id)}})

    async def _subscribe_all(self, uris: list[str], call: Call, found: dict[str, Group]) -> None:
        """Subscribe to these URIs; ``found`` gets the accepted ones with their groups."""
        uris_of: dict[Group, list[str]] = {}
        for uri in uris:
            if (group := await self._catalog.find_owner(uri, call)) is not None:
                uris_of.setdefault(group, []).append(uri)
        # At once, so that a group that does not answer does not delay the others.
        await asyncio.gather(*(_subscribe_at(group, own, call, found) for group, own in uris_of.items()))


async def _subscribe_at(group: Group, uris: list[str], call: Call, found: dict[str, Group]) -> None:
    """Subscribe to these URIs of one group, until a request runs into its timeout, so that the client waits for one timeout only."""
    for uri in uris:
        try:
            await group.subscriptions.subscribe(uri, call)
        except UpstreamError as error:
            log.debug("group %s refuses a subscription: %s", group.name, error)
            if isinstance(error, UpstreamTimeout):
                return
        else:
            found[uri] = group
