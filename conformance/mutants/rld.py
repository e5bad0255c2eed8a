"""Mistakes in following the configuration file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp import config
from dynamic_mcp.config import diff, watch
from dynamic_mcp.config.model import Config
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.groups import reload
from dynamic_mcp.groups.supervisor import Supervisor, _Life

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamic_mcp.config.model import Server

TOOLS_CHANGED = "notifications/tools/list_changed"


@mutant("RLD-001", also={f"RLD-00{number}": "its file changes too" for number in (2, 3, 4, 5, 6, 7, 9)})
def needs_a_restart() -> None:
    async def wrong(self: reload.Reload) -> None:
        await anyio.sleep_forever()

    replace(reload.Reload.run, wrong)


@mutant("RLD-002")
def watches_the_inode() -> None:
    right = watch._state_of
    inodes: list[object] = []

    def wrong(path: Path) -> object:
        state = right(path)
        if isinstance(state, tuple):
            inodes.append(state[1])
            # That the old inode went is seen. Nobody looks at the new one.
            return state if state[1] == inodes[0] else "gone"
        return state

    replace(right, wrong)
    replace(watch.SECOND_LOOK, float("inf"))


@mutant("RLD-003")
def leaves_the_processes_of_a_removed_server() -> None:
    right = Supervisor._remove

    def wrong(self: Supervisor, name: str) -> None:
        self._lives[self._groups[name]].scope = anyio.CancelScope()
        right(self, name)

    replace(right, wrong)


@mutant("RLD-003", also={"RLD-007": "what was never removed is not announced"})
def a_removed_server_stays_in_use() -> None:
    right = Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        servers = new.servers + changes.removed
        right(self, Config(servers), msgspec.structs.replace(changes, removed=()))

    replace(right, wrong)


@mutant("RLD-004")
def compares_only_the_names() -> None:
    right = diff.diff

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        return msgspec.structs.replace(found, changed=(), unchanged=found.changed + found.unchanged)

    replace(right, wrong)


@mutant("RLD-004")
def does_not_expand_references_again() -> None:
    right = config.load
    loaded: list[Path] = []

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        loaded.append(path)
        return right(path, environment if len(loaded) == 1 else {})

    replace(right, wrong)


@mutant("RLD-004")
def a_changed_timeout_needs_a_restart() -> None:
    right = Supervisor._change

    def wrong(self: Supervisor, server: Server) -> None:
        right(self, msgspec.structs.replace(server, timeouts=self._groups[server.name].server.timeouts))

    replace(right, wrong)


@mutant("RLD-005", also={"RLD-009": "a file that is gone cannot be used either"}, crashes=True)
def ends_when_the_file_cannot_be_used() -> None:
    right = reload.Reload._say

    def wrong(self: reload.Reload, problem: str) -> None:
        right(self, problem)
        os._exit(2)

    replace(right, wrong)


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "a file on the way cannot be used either"))
def drops_all_groups_when_the_file_cannot_be_used() -> None:
    right = reload.Reload._take

    def wrong(self: reload.Reload, *, forced: bool) -> str:
        problem = right(self, forced=forced)
        if problem:
            _apply_nothing(self)
        return problem

    replace(right, wrong)


@mutant("RLD-005")
def says_nothing_about_a_file_that_cannot_be_used() -> None:
    replace(reload.Reload._say, lambda self, problem: None)


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "a file on the way cannot be used either"))
def stops_watching_when_the_file_cannot_be_used() -> None:
    async def wrong(self: reload.Reload) -> None:
        problem = ""
        while not problem:
            problem = self._take(forced=await self._watch.changed())
        self._say(problem)
        await anyio.sleep_forever()

    replace(reload.Reload.run, wrong)


@mutant("RLD-006", also={"RLD-007": "what is connected again is listed anew"})
def connects_everything_again() -> None:
    right = diff.diff

    def wrong(old: Config, new: Config) -> diff.Diff:
        found = right(old, new)
        again = found.changed + found.unchanged
        return diff.Diff(found.added + again, found.removed + again, (), ())

    replace(right, wrong)


@mutant(
    "RLD-006",
    also={"RLD-007": "what is started again is listed anew"},
)
def restarts_at_every_event_of_the_file() -> None:
    right = reload.Reload._take
    has_looked: set[reload.Reload] = set()

    def wrong(self: reload.Reload, *, forced: bool) -> str:
        # The first look, soon after the start, is no event.
        is_event = self in has_looked
        has_looked.add(self)
        before = self._config
        problem = right(self, forced=forced)
        if is_event and not problem and before.servers == self._config.servers:
            servers = self._config.servers
            self._supervisor.apply(self._config, diff.Diff(servers, servers, (), ()))
        return problem

    replace(right, wrong)


@mutant("RLD-007")
def tells_of_changed_tools_without_having_declared_it() -> None:
    right = Frontend._capabilities
    replace(right, lambda self, legacy: {**right(self, legacy=legacy), "tools": {}})


@mutant("RLD-007", also={"FRONT-003": "what is declared has to come", "FRONT-030": "the same, to a listener"})
def does_not_tell_of_changed_tools() -> None:
    right = Relay.announce

    def wrong(self: Relay, method: str) -> None:
        if method != TOOLS_CHANGED:
            right(self, method)

    replace(right, wrong)


@mutant("RLD-007")
def does_not_tell_of_the_prompts_of_a_removed_server() -> None:
    right = Frontend._visible
    replace(right, lambda self: {**right(self), "notifications/prompts/list_changed": ()})


@mutant("RLD-007")
def tells_of_changed_tools_at_every_reload() -> None:
    right = Frontend._visible
    replace(right, lambda self: {**right(self), TOOLS_CHANGED: object()})


@mutant("RLD-008")
def takes_a_half_written_file_for_an_empty_one() -> None:
    right = reload.Reload._take

    def wrong(self: reload.Reload, *, forced: bool) -> str:
        problem = right(self, forced=forced)
        if "is empty" in problem or "ends too early" in problem:
            _apply_nothing(self)
        return problem

    replace(right, wrong)


@mutant("RLD-008", also={"RLD-006": "its servers are added too"})
def starts_an_added_server_twice() -> None:
    right = Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        right(self, new, changes)
        for server in changes.added:
            self._start(self._make(server))

    replace(right, wrong)


@mutant("RLD-008")
def drops_what_is_saved_in_a_hurry() -> None:
    right, rest = watch.Watch.changed, watch.Watch._rest
    hurried: list[watch.Watch] = []

    async def wrong_rest(self: watch.Watch, state: object) -> object:
        if self._known is None:
            # The first look, which is not one at a change. It must not last into the saves of a check.
            return state
        last = await rest(self, state)
        if last != state:
            hurried.append(self)
        return last

    async def wrong(self: watch.Watch) -> bool:
        while True:
            forced = await right(self)
            if forced or self not in hurried:
                return forced
            hurried.remove(self)
            self._second_look = float("inf")

    watch.QUIET, watch.MAX_DELAY = 1.0, float("inf")
    replace(rest, wrong_rest)
    replace(right, wrong)


@mutant("RLD-009")
def takes_a_file_that_is_gone_for_an_empty_one() -> None:
    right = reload.Reload._take

    def wrong(self: reload.Reload, *, forced: bool) -> str:
        problem = right(self, forced=forced)
        if not self._path.exists():
            _apply_nothing(self)
        return problem

    replace(right, wrong)


@mutant("RLD-009")
def loses_the_watch_when_the_file_is_gone() -> None:
    right = watch._state_of
    gone: list[Path] = []

    def wrong(path: Path) -> object:
        if gone or not path.exists():
            gone.append(path)
            return "gone"
        return right(path)

    replace(right, wrong)
    replace(watch.SECOND_LOOK, float("inf"))


@mutant("OPS-010")
def loses_a_descriptor_with_every_reload() -> None:
    right = _Life.run

    async def wrong(self: _Life) -> None:
        os.dup(2)
        await right(self)

    replace(right, wrong)


def _apply_nothing(self: reload.Reload) -> None:
    nothing = Config(())
    self._supervisor.apply(nothing, diff.diff(self._config, nothing))
    self._config = nothing
