"""What a new configuration changes, server by server. Values decide, ``Secret`` ones included; nothing is started or stopped here."""

from __future__ import annotations

import msgspec

from dynamic_mcp.config.model import Config, Server


class Diff(msgspec.Struct, frozen=True):
    """The servers of the new configuration and those of the old one that it lacks; as text, the names in each part."""

    added: tuple[Server, ...]
    removed: tuple[Server, ...]
    #: as they are now
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
