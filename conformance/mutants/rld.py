"""Mistakes in following the configuration file."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

import anyio
import msgspec

from conformance.mutants import mutant, replace, wire
from conformance.mutants.std_process import change_children
from conformance.mutants.wire import results_of, without
from dynamic_mcp.config import diff, watch
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.groups import reload
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS
from dynamic_mcp.groups.supervisor import RunningGroup, Supervisor
from dynamic_mcp.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conformance.mutants.std_process import Launch
    from conformance.mutants.wire import Message

TOOLS_CHANGED = "notifications/tools/list_changed"
#: What the log says of a file that cannot be used.
NOT_RELOADED = "not reloaded"


@mutant("RLD-001", also={f"RLD-00{number}": "its file changes too" for number in (2, 3, 4, 5, 6, 7, 9)})
def needs_a_restart() -> None:
    async def wrong(self: reload.Reload) -> None:
        await anyio.sleep_forever()

    replace(reload.Reload.run, wrong)


@mutant("RLD-002")
def watches_the_inode() -> None:
    """Misses the second rename. dmcp 1.5.0 behaves like this."""
    inodes: list[int] = []

    def wrong(path: Path) -> os.stat_result:
        found = os.stat(path)
        inodes.append(found.st_ino)
        if found.st_ino != inodes[0]:
            # The watch sees that the old inode is gone, and never looks at the new one.
            raise FileNotFoundError(errno.ENOENT, "")
        return found

    _look_by(wrong)


@mutant("RLD-003")
def leaves_the_processes_of_a_removed_server() -> None:
    async def wrong(self: RunningGroup) -> None:
        try:
            await self.group.run()
        finally:
            self.over.set()

    replace(RunningGroup.run, wrong)


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
    loaded: list[Path] = []

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        loaded.append(path)
        return load(path, environment if len(loaded) == 1 else {})

    replace(load, wrong)


@mutant("RLD-004")
def a_changed_timeout_needs_a_restart() -> None:
    right = Group.define
    replace(
        right,
        lambda self, server: right(self, msgspec.structs.replace(server, timeouts=self.server.timeouts)),
    )


@mutant("RLD-005", also={"RLD-009": "a file that is gone cannot be used either"}, crashes=True)
def ends_when_the_file_cannot_be_used() -> None:
    class Exit(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if NOT_RELOADED in record.msg:
                os._exit(2)
            return True

    log.addFilter(Exit())


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "a file on the way cannot be used either"))
def drops_all_groups_when_the_file_cannot_be_used() -> None:
    _take_for_an_empty_one(lambda path, problem: True)


@mutant("RLD-005")
def says_nothing_about_a_file_that_cannot_be_used() -> None:
    log.addFilter(lambda record: NOT_RELOADED not in record.msg)


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "a file on the way cannot be used either"))
def stops_watching_when_the_file_cannot_be_used() -> None:
    right = watch.Watch.changed
    problems: list[ConfigError] = []

    def remember(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            return load(path, environment)
        except ConfigError as problem:
            problems.append(problem)
            raise

    async def wrong(self: watch.Watch) -> bool:
        if problems:
            await anyio.sleep_forever()
        return await right(self)

    replace(load, remember)
    replace(right, wrong)


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
    """An event of its attributes is enough."""
    changed, right = watch.Watch.changed, diff.diff
    looks: list[bool] = []

    async def force(self: watch.Watch) -> bool:
        looks.append(await changed(self))
        # The first look, soon after the start, is no event.
        return len(looks) > 1

    def wrong(old: Config, new: Config) -> diff.Diff:
        if old.servers != new.servers:
            return right(old, new)
        return diff.Diff(new.servers, new.servers, (), ())

    replace(changed, force)
    replace(right, wrong)


@mutant("RLD-007")
def tells_of_changed_tools_without_having_declared_it() -> None:
    def wrong(result: Message) -> Message:
        return {**result, "capabilities": {**result["capabilities"], "tools": {}}}

    wire.to_client(results_of("initialize", wrong), results_of("server/discover", wrong))


@mutant("RLD-007", also={"FRONT-003": "what is declared has to come", "FRONT-030": "the same, to a listener"})
def does_not_tell_of_changed_tools() -> None:
    wire.to_client(without(TOOLS_CHANGED))


@mutant("RLD-007")
def does_not_tell_of_the_prompts_of_a_removed_server() -> None:
    right = Catalog.owners
    replace(right, lambda self, kind: () if kind is PROMPTS else right(self, kind))


@mutant("RLD-007")
def tells_of_changed_tools_at_every_reload() -> None:
    client, right = wire.to_client.watch(), Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        right(self, new, changes)
        client.send({"jsonrpc": "2.0", "method": TOOLS_CHANGED})

    replace(right, wrong)


@mutant("RLD-008")
def takes_a_half_written_file_for_an_empty_one() -> None:
    _take_for_an_empty_one(lambda path, problem: "is empty" in problem or "ends too early" in problem)


@mutant("RLD-008", also={"RLD-006": "its servers are added too"})
def starts_an_added_server_twice() -> None:
    right = Supervisor.apply
    added: list[str] = []
    twins: list[subprocess.Popen[bytes]] = []

    def remember(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        added.extend(server.name for server in changes.added)
        right(self, new, changes)

    def wrong(launch: Launch) -> None:
        if added:
            added.clear()
            pipe = subprocess.PIPE
            twins.append(
                subprocess.Popen(launch["args"], env=launch["env"], stdin=pipe, stdout=pipe, stderr=pipe)
            )

    replace(right, remember)
    change_children(wrong)


@mutant("RLD-008")
def drops_what_is_saved_in_a_hurry() -> None:
    # Private: only the watch itself knows that a file changes while it waits for the file to rest.
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
    _take_for_an_empty_one(lambda path, problem: not path.exists())


@mutant("RLD-009")
def loses_the_watch_when_the_file_is_gone() -> None:
    gone: list[Path] = []

    def wrong(path: Path) -> os.stat_result:
        if gone or not path.exists():
            gone.append(path)
            raise FileNotFoundError(errno.ENOENT, "")
        return os.stat(path)

    _look_by(wrong)


@mutant("OPS-010")
def loses_a_descriptor_with_every_reload() -> None:
    right = RunningGroup.run

    async def wrong(self: RunningGroup) -> None:
        os.dup(2)
        await right(self)

    replace(right, wrong)


def _take_for_an_empty_one(is_wrong: Callable[[Path, str], bool]) -> None:
    """Take files that cannot be used, and for which ``is_wrong`` holds, for files without servers; not at the start."""
    loaded: list[Config] = []

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            loaded.append(load(path, environment))
        except ConfigError as problem:
            if not loaded or not is_wrong(path, str(problem)):
                raise
            return Config(())
        return loaded[-1]

    replace(load, wrong)


def _look_by(stat: Callable[[Path], os.stat_result]) -> None:
    """Let the watch look at the file by this function, and at its content only when that differs."""
    patch.object(watch, "os", SimpleNamespace(stat=stat)).start()
    replace(watch.SECOND_LOOK, float("inf"))
