"""Mistakes in following a changed definition of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.rld import change_reloads
from dynamic_mcp.config import diff
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Features
from dynamic_mcp.groups.group import Group

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.config.model import Config, Server


@mutant("RLD-004")
def compares_only_the_names() -> None:
    """The proxy sees servers that are added or removed, and none that changed."""
    right = diff.diff

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        return msgspec.structs.replace(found, changed=(), unchanged=found.changed + found.unchanged)

    replace(right, wrong)


@mutant("RLD-004")
def does_not_expand_references_again() -> None:
    change_reloads(lambda path, environment: load(path, {}))


@mutant("RLD-004")
def a_changed_timeout_needs_a_restart() -> None:
    _change_definitions(lambda new, old: msgspec.structs.replace(new, timeouts=old.timeouts))


@mutant("RLD-004")
def only_a_changed_timeout_of_tools_counts() -> None:
    _change_definitions(
        lambda new, old: msgspec.structs.replace(
            new, timeouts=msgspec.structs.replace(old.timeouts, tools=new.timeouts.tools)
        )
    )


@mutant("RLD-004")
def features_can_only_be_switched_off() -> None:
    _change_definitions(
        lambda new, old: msgspec.structs.replace(
            new,
            features=Features(
                *(
                    getattr(new.features, name) and getattr(old.features, name)
                    for name in Features.__struct_fields__
                )
            ),
        )
    )


@mutant("RLD-004")
def a_changed_variable_needs_a_restart() -> None:
    _ignore_changes(lambda server: _rest_of_transport(server, env=()))


@mutant("RLD-004")
def a_changed_url_needs_a_restart() -> None:
    _ignore_changes(lambda server: _rest_of_transport(server, url=None))


@mutant("RLD-004")
def a_changed_feature_flag_needs_a_restart() -> None:
    _ignore_changes(lambda server: msgspec.structs.replace(server, features=Features()))


def _change_definitions(wrong: Callable[[Server, Server], Server]) -> None:
    """Let a group take the result for the new definition and the old one."""
    right = Group.define
    replace(right, lambda self, server: right(self, wrong(server, self.server)))


def _rest_of_transport(server: Server, **same: Any) -> Server:
    """The server with these values in its transport, where it has them."""
    values = {name: same[name] for name in same if hasattr(server.transport, name)}
    return msgspec.structs.replace(server, transport=msgspec.structs.replace(server.transport, **values))


def _ignore_changes(rest: Callable[[Server], Server]) -> None:
    """Let the proxy compare only the rest of each server with the old one."""
    right = diff.diff

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        before = {server.name: rest(server) for server in old.servers}
        same = tuple(server for server in found.changed if rest(server) == before[server.name])
        changed = tuple(server for server in found.changed if server not in same)
        return msgspec.structs.replace(found, changed=changed, unchanged=found.unchanged + same)

    replace(right, wrong)
