"""Who holds the subscription to each resource of one group: a session, or an open listen request."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TypeAlias

from dynamic_mcp.groups.uris import normal_uri

#: The session of a legacy client, or the ``subscriptions/listen`` of a modern one.
Holder: TypeAlias = Hashable


class Holders(dict[str, set[Holder]]):
    """The holders by the URI of their resource. No set is empty."""

    def __init__(self) -> None:
        super().__init__()
        #: the normal form of each URI
        self._normal: dict[str, str] = {}

    def has(self, uri: str, holder: Holder) -> bool:
        """Whether this holder has the subscription to a resource."""
        return holder in self.get(uri, ())

    def covers(self, uri: str) -> bool:
        """Whether there is a subscription to a resource, or to one that contains it."""
        return uri in self or any(True for _ in self._containing(uri))

    def of(self, uri: str) -> set[Holder]:
        """The holders of these subscriptions."""
        return {holder for parent in self._containing(uri) for holder in self[parent]}

    def uris_of(self, holder: Holder) -> list[str]:
        """The resources to which this holder has a subscription."""
        return [uri for uri, holders in self.items() if holder in holders]

    def add(self, uri: str, *holders: Holder) -> None:
        """Note that these hold the subscription to a resource."""
        self.setdefault(uri, set()).update(holders)
        if uri not in self._normal:
            self._normal[uri] = normal_uri(uri)

    def drop(self, uri: str, holder: Holder) -> bool:
        """Note that this one does not hold it any more; whether no holder is left."""
        holders = self.get(uri, set())
        holders.discard(holder)
        if not holders:
            self.pop(uri, None)
            self._normal.pop(uri, None)
        return not holders

    def _containing(self, uri: str) -> Iterator[str]:
        """The resources with a subscription that are this one, or contain it: its path goes on, or it has a query or a fragment.

        A server may name such a sub-resource in the update of a resource (MCP 2025-11-25, schema, ``ResourceUpdatedNotification``). It may
        also use another spelling than the client.
        """
        normal = normal_uri(uri)
        for parent, normal_parent in self._normal.items():
            if _lies_within(parent, uri) or _lies_within(normal_parent, normal):
                yield parent


def _lies_within(parent: str, uri: str) -> bool:
    return uri.startswith(parent) and (
        uri == parent or parent.endswith("/") or uri[len(parent)] in ("/", "?", "#")
    )
