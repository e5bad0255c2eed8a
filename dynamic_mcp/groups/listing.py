"""Listings of an upstream and their cache: every page, with every definition as the upstream wrote it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.upstream.base import Options, Upstream

#: Pages of one listing, so that an upstream with an endless list does not hold its callers for ever.
MAX_PAGES = 1000
#: How often to make a listing that changes meanwhile, because it may change all the time.
_ATTEMPTS = 3

#: Definitions by name or URI, in the upstream's order.
Listing = dict[str, Raw]


class Kind(msgspec.Struct, frozen=True):
    """A kind of definition, such as tools."""

    #: its capability and feature flag
    feature: str
    method: str
    #: the member of the result with the definitions, and the member of a definition with its name or URI
    member: str
    key: str


TOOLS = Kind("tools", "tools/list", "tools", "name")
RESOURCES = Kind("resources", "resources/list", "resources", "uri")
TEMPLATES = Kind("resources", "resources/templates/list", "resourceTemplates", "uriTemplate")
PROMPTS = Kind("prompts", "prompts/list", "prompts", "name")

#: The lists that changed, by the notification of the change.
CHANGED = {
    "notifications/tools/list_changed": (TOOLS,),
    "notifications/resources/list_changed": (RESOURCES, TEMPLATES),
    "notifications/prompts/list_changed": (PROMPTS,),
}


class ListingCache:
    """The listings of one upstream, until it announces a change, and the names of its last listings."""

    def __init__(self) -> None:
        self._listings: dict[Kind, Listing] = {}
        #: the names in the last listing of each kind that is not cached any more
        self._names: dict[Kind, Collection[str]] = {}
        self._changes = 0

    def get(self, kind: Kind) -> Listing | None:
        """The cached listing, or None."""
        return self._listings.get(kind)

    def names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing, also while the upstream is gone. None if there was no listing yet."""
        return self._listings.get(kind, self._names.get(kind))

    def inherit(self, other: ListingCache) -> None:
        """Take over the names of a predecessor, for each kind that has no listing yet."""
        for kind, names in (other._names | other._listings).items():
            self._names.setdefault(kind, frozenset(names))

    async def fill(self, kind: Kind, make: Callable[[], Awaitable[Listing]]) -> Listing:
        """Make a listing and cache it; make it again if the upstream announced a change meanwhile."""
        for _ in range(_ATTEMPTS):
            changes = self._changes
            listing = await make()
            if changes == self._changes:
                self._listings[kind] = listing
                self._names.pop(kind, None)
                return listing
        self._names[kind] = frozenset(listing)
        return listing

    def invalidate(self, method: str) -> None:
        """Drop the lists that changed according to this notification."""
        for kind in CHANGED.get(method, ()):
            self._changes += 1
            self._drop(kind)

    def clear(self) -> None:
        """Drop every listing but its names, because the connection is gone."""
        for kind in list(self._listings):
            self._drop(kind)

    def _drop(self, kind: Kind) -> None:
        if (listing := self._listings.pop(kind, None)) is not None:
            self._names[kind] = frozenset(listing)


async def list_all(upstream: Upstream, kind: Kind, options: Options) -> Listing:
    """All pages of a list; ``options.timeout`` is for each page. Raises UpstreamError.

    An empty cursor is valid (MCP 2025-11-25, server/utilities/pagination); a repeated one ends the list. The list is empty if the
    upstream does not declare the capability, or does not know the method.
    """
    if kind.feature not in upstream.agreed.capabilities:
        return {}
    listing: Listing = {}
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        params = b"" if cursor is None else msgspec.json.encode({"cursor": cursor})
        try:
            answer = await upstream.request(kind.method, params, options)
        except UpstreamRefused as refusal:
            if refusal.code == jsonrpc.METHOD_NOT_FOUND:
                return listing
            raise refusal.as_failure(kind.method) from None
        cursor = add_page(listing, answer, kind)
        if cursor is None or cursor in seen:
            break
        seen.add(cursor)
    return listing


def add_page(listing: Listing, answer: bytes, kind: Kind) -> str | None:
    """Add the definitions of one page; the cursor of the next one. Raises UpstreamFailed."""
    try:
        page = msgspec.json.decode(answer, type=dict[str, Raw])
        for raw in msgspec.json.decode(page[kind.member], type=list[Raw]):
            name = msgspec.json.decode(raw, type=dict[str, Raw])[kind.key]
            # A view would keep the whole line in memory while one definition of it is in the cache.
            listing[msgspec.json.decode(name, type=str)] = raw.copy()
        cursor = page.get("nextCursor")
        return None if cursor is None else msgspec.json.decode(cursor, type=str | None)
    except (msgspec.DecodeError, KeyError):
        raise UpstreamFailed(f"its answer to {kind.method} is not a list of {kind.member}") from None
