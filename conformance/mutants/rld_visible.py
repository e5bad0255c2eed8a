"""Mistakes with servers that a reload leaves unchanged, and in what it tells the client."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire
from dynamic_mcp.config import diff
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.config.watch import Watch
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.config.model import Config, Server

TOOLS_CHANGED, PROMPTS_CHANGED = "notifications/tools/list_changed", "notifications/prompts/list_changed"


@mutant("RLD-006")
def connects_everything_again() -> None:
    _connect_again(lambda found, server: True)


@mutant("RLD-006")
def begins_all_sessions_again() -> None:
    _connect_again(lambda found, server: isinstance(server.transport, RemoteTransport))


@mutant("RLD-006", also={"CFG-036": "a changed server is the same to it"})
def restarts_the_other_servers_at_a_removal() -> None:
    _connect_again(lambda found, server: bool(found.removed or found.changed))


def _connect_again(is_hit: Callable[[diff.Diff, Server], bool]) -> None:
    right = diff.diff

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        again = tuple(server for server in found.changed + found.unchanged if is_hit(found, server))
        changed, unchanged = (
            tuple(server for server in servers if server not in again)
            for servers in (found.changed, found.unchanged)
        )
        return diff.Diff(found.added + again, found.removed + again, changed, unchanged)

    replace(right, wrong)


@mutant("RLD-006")
def restarts_at_every_event_of_the_file() -> None:
    changed, right = Watch.changed, diff.diff
    has_looked: set[Watch] = set()

    async def forced(self: Watch) -> bool:
        # The first look, soon after the start, is no event.
        is_event = self in has_looked
        has_looked.add(self)
        return await changed(self) or is_event

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        if found.added or found.removed or found.changed:
            return found
        return diff.Diff(new.servers, old.servers, (), ())

    replace(changed, forced)
    replace(right, wrong)


@mutant("RLD-007")
def tells_of_changed_tools_without_having_declared_it() -> None:
    right = tool_surface.capabilities
    replace(right, lambda **about: {**right(**about), "tools": {}})


@mutant(
    "RLD-007",
    also={"FRONT-003": "the declared notification has to come", "FRONT-030": "the same for a listener"},
)
def does_not_tell_of_changed_tools() -> None:
    right = Relay.announce

    def wrong(self: Relay, method: str) -> None:
        if method != TOOLS_CHANGED:
            right(self, method)

    replace(right, wrong)


@mutant("RLD-007")
def tells_of_changed_prompts_only_once() -> None:
    told: list[Message] = []

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != PROMPTS_CHANGED:
            return message
        told.append(message)
        return message if len(told) == 1 else None

    wire.to_client(wrong)


@mutant("RLD-007")
def tells_only_of_added_and_removed_servers() -> None:
    right = Supervisor.apply

    def wrong(self: Supervisor, config: Config, changes: diff.Diff) -> None:
        # Private, because the frontend hears of a reload by this alone.
        changing = self._changing
        if not changes.added and not changes.removed:
            self._changing = nullcontext
        right(self, config, changes)
        self._changing = changing

    replace(right, wrong)


@mutant("RLD-007")
def tells_of_changed_tools_at_every_reload() -> None:
    class Unlike(bytes):
        """A list that differs from all others."""

        __hash__ = bytes.__hash__

        def __eq__(self, other: object) -> bool:
            return False

    right = Toolbox.list_tools
    replace(right, lambda self, params: Unlike(right(self, params)))
