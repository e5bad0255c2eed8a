"""Which group a name leads to: the URI of a resource, or the name of a prompt.

A prompt belongs to a configured group if its name begins with that of the group and a slash, even if another group lists it. Any other name
belongs to the first group of the configuration that has it. A name that was used stays with its group, as long as this group has it, or is
not connected. So another group cannot take it over, neither by a new listing nor while the owner is down. An earlier group whose listing
was unknown at that time may still claim the name: it takes its place in the order when it connects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from dynamic_mcp.groups.listing import Kind

#: The number of used names that have a remembered owner, and the largest length of one.
MAX_OWNERS = 4096
MAX_NAME = 4096
#: How often a prefix is repeated to make a name unique.
_MAX_PREFIXES = 4


class _Owner(msgspec.Struct, frozen=True):
    group: str
    #: the groups that cannot claim the name
    others: frozenset[str]


class NameOwners:
    """Remembers the groups of the names that were used last."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], _Owner] = {}

    def of(self, kind: Kind, name: str) -> str | None:
        """The group that the name led to before, or None."""
        owner = self._owners.get((kind.feature, name))
        return None if owner is None else owner.group

    def claimants(self, kind: Kind, name: str, groups: Sequence[str]) -> Sequence[str]:
        """Those of these groups that the name can lead to; all of them if the name has no owner among them."""
        owner = self._owners.get((kind.feature, name))
        if owner is None or owner.group not in groups:
            return groups
        earlier = groups[: groups.index(owner.group)]
        return [*(group for group in earlier if group not in owner.others), owner.group]

    def remember(
        self, kind: Kind, name: str, owner: str, groups: Sequence[str], unknown: Collection[str]
    ) -> None:
        """Note that the name led to ``owner``, while the listings of the groups in ``unknown`` were unknown."""
        self.forget(kind, name)
        if len(name) > MAX_NAME:
            return
        late = {group for group in groups[: groups.index(owner)] if group in unknown}
        self._owners[kind.feature, name] = _Owner(owner, frozenset(groups) - late - {owner})
        if len(self._owners) > MAX_OWNERS:
            del self._owners[next(iter(self._owners))]

    def forget(self, kind: Kind, name: str) -> None:
        """Let the name lead to another group."""
        self._owners.pop((kind.feature, name), None)


def owner_by_prefix(name: str, groups: Iterable[str]) -> str | None:
    """The group that a qualified name names; the longest one if several fit. None for a plain name."""
    if "/" not in name:
        return None
    return max((group for group in groups if name.startswith(f"{group}/")), key=len, default=None)


def qualified_name(group: str, own: str, listed: Collection[str], groups: Collection[str]) -> str | None:
    """The name ``GROUP/NAME`` of an entry of a group. None if every such name would lead to another entry.

    ``listed`` contains the names that the group lists. The prefix is repeated if the group lists the qualified name itself.
    """
    name = own
    for _ in range(_MAX_PREFIXES):
        name = f"{group}/{name}"
        if name not in listed and owner_by_prefix(name, groups) == group:
            return name if own_name(group, name, listed, groups) == own else None
    return None


def own_name(group: str, qualified: str, listed: Collection[str], groups: Collection[str]) -> str | None:
    """The reverse of ``qualified_name``: the entry's name in its group. None if the group lists no such entry."""
    if qualified in listed:
        return qualified
    own = qualified
    for _ in range(_MAX_PREFIXES):
        if not own.startswith(f"{group}/"):
            return None
        own = own.removeprefix(f"{group}/")
        if own in listed and owner_by_prefix(own, groups) != group:
            return own
    return None
