"""The differences between two configurations, server by server. All values count, secrets included."""

from __future__ import annotations

import msgspec

from dynamic_mcp.config.model import Config, Server


class Diff(msgspec.Struct, frozen=True):
    """The servers of the new configuration, and the removed ones of the old. As text, the names in each part."""

    added: tuple[Server, ...]
    removed: tuple[Server, ...]
    #: in the new definition
    changed: tuple[Server, ...]
    unchanged: tuple[Server, ...]

    def __str__(self) -> str:
        parts = ((field, getattr(self, field)) for field in self.__struct_fields__)
        return "; ".join(
            f"{field} {', '.join(server.name for server in servers) or 'none'}" for field, servers in parts
        )


def diff(old: Config, new: Config) -> Diff:
    """Compare two configurations."""
    before = {server.name: server for server in old.servers}
    kept = [server for server in new.servers if server.name in before]
    names = {server.name for server in new.servers}
    return Diff(
        added=tuple(server for server in new.servers if server.name not in before),
        removed=tuple(server for server in old.servers if server.name not in names),
        changed=tuple(server for server in kept if server != before[server.name]),
        unchanged=tuple(server for server in kept if server == before[server.name]),
    )
