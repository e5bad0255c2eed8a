"""Mistakes in following the configuration file."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from conformance.mutants import instances, mutant, replace, wire
from dynamic_mcp.config import diff, watch
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config
from dynamic_mcp.config.watch import Watch
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.groups.supervisor import RunningGroup, Supervisor
from dynamic_mcp.log import log

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conformance.mutants.wire import Message

#: how the report of a file that cannot be used begins
NOT_RELOADED = "configuration not reloaded"


def change_reloads(wrong: Callable[[Path, Mapping[str, str]], Config]) -> None:
    """Let ``wrong`` load the file when it changes; the start of the proxy loads it rightly."""
    loaded: list[Path] = []

    def first_right(path: Path, environment: Mapping[str, str]) -> Config:
        loaded.append(path)
        return (load if len(loaded) == 1 else wrong)(path, environment)

    replace(load, first_right)


def changes_by_reloads() -> list[diff.Diff]:
    """A list to which each reload adds what it changes."""
    right = Supervisor.apply
    found: list[diff.Diff] = []

    def noted(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        found.append(changes)
        right(self, new, changes)

    replace(right, noted)
    return found


def change_looks(wrong: Callable[[Path], os.stat_result]) -> None:
    """Let ``wrong`` find out the state of the file. The proxy reads the content no second time."""
    vars(watch)["os"] = SimpleNamespace(stat=wrong)
    watch.SECOND_LOOK = float("inf")


@mutant(
    "RLD-001", also={f"RLD-00{number}": "its check changes the file too" for number in (2, 3, 4, 5, 6, 7, 9)}
)
def needs_a_restart() -> None:
    async def wrong(self: Reload) -> None:
        await anyio.sleep_forever()

    replace(Reload.run, wrong)


@mutant("RLD-002")
def watches_the_inode() -> None:
    """The proxy misses the second rename. dmcp 1.5.0 behaves like this."""
    inodes: list[int] = []

    def wrong(path: Path) -> os.stat_result:
        found = os.stat(path)
        inodes.append(found.st_ino)
        if found.st_ino != inodes[0]:
            # The proxy notices that the old inode is gone, and never looks at the new one.
            raise FileNotFoundError
        return found

    change_looks(wrong)


def running_groups() -> Callable[[Group], RunningGroup]:
    """A function that finds the task of a group."""
    made = instances(RunningGroup)
    return lambda group: next(one for one in made if one.group is group)


def leave_removed_servers(is_left: Callable[[Group], bool]) -> None:
    running, right = running_groups(), Group.remove

    def wrong(self: Group) -> None:
        if is_left(self):
            running(self).scope = anyio.CancelScope()
        right(self)

    replace(right, wrong)


def leave_changed_servers(is_left: Callable[[Group], bool]) -> None:
    running, right = running_groups(), Group.hand_over

    def wrong(self: Group, successor: Group) -> None:
        if is_left(self):
            running(self).scope = anyio.CancelScope()
            running(self).over.set()
        right(self, successor)

    replace(right, wrong)


@mutant("RLD-003", also={"OPS-010": "it removes servers too"})
def leaves_the_processes_of_a_removed_server() -> None:
    leave_removed_servers(lambda group: True)


@mutant("RLD-003", also={"OPS-010": "it removes some of its servers while they start"})
def leaves_a_removed_server_that_has_not_answered() -> None:
    leave_removed_servers(lambda group: group.upstream is None)


@mutant("RLD-004", also={"OPS-010": "it changes servers too"})
def leaves_the_processes_of_a_changed_server() -> None:
    leave_changed_servers(lambda group: True)


@mutant("RLD-004", also={"OPS-010": "it changes some of its servers while they start"})
def leaves_a_changed_server_that_has_not_answered() -> None:
    leave_changed_servers(lambda group: group.upstream is None)


@mutant("RLD-003", also={"RLD-007": "the removal is not announced"})
def a_removed_server_stays_in_use() -> None:
    right = Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        servers = new.servers + changes.removed
        right(self, Config(servers), msgspec.structs.replace(changes, removed=()))

    replace(right, wrong)


@mutant("RLD-003")
def keeps_prompts_and_resources_of_a_removed_server_in_the_lists() -> None:
    seen: dict[tuple[str, Any], Any] = {}

    def keep(kind: str, key: str) -> Callable[[Message], Message]:
        def wrong(result: Message) -> Message:
            seen.update({(kind, one[key]): one for one in result.get(kind, ())})
            return {**result, kind: [one for (of, _), one in seen.items() if of == kind]}

        return wrong

    prompts = wire.results_of("prompts/list", keep("prompts", "name"))
    wire.to_client(prompts, wire.results_of("resources/list", keep("resources", "uri")))


@mutant("RLD-005", also={"RLD-009": "a deleted file cannot be used either"}, crashes=True)
def ends_when_the_file_cannot_be_used() -> None:
    right = Extras.record

    def wrong(self: Extras, event: str, **details: Any) -> None:
        right(self, event, **details)
        if event == "reload" and details.get("outcome") == "failed":
            # The report on stderr comes next.
            asyncio.get_running_loop().call_soon(os._exit, 2)

    replace(right, wrong)


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "their file cannot be used for a moment"))
def drops_all_groups_when_the_file_cannot_be_used() -> None:
    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            return load(path, environment)
        except ConfigError as problem:
            log.error("all servers are stopped: %s", problem)
            return Config(())

    change_reloads(wrong)


@mutant("RLD-005")
def says_nothing_about_a_file_that_cannot_be_used() -> None:
    def wrong(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(NOT_RELOADED)

    log.addFilter(wrong)


@mutant("RLD-005", also=dict.fromkeys(("RLD-008", "RLD-009"), "their file cannot be used for a moment"))
def stops_watching_when_the_file_cannot_be_used() -> None:
    right = Watch.changed
    problems: list[ConfigError] = []

    def remember(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            return load(path, environment)
        except ConfigError as problem:
            problems.append(problem)
            raise

    async def wrong(self: Watch) -> bool:
        if problems:
            await anyio.sleep_forever()
        return await right(self)

    change_reloads(remember)
    replace(right, wrong)


@mutant("RLD-008")
def takes_a_half_written_file_for_an_empty_one() -> None:
    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            return load(path, environment)
        except ConfigError as problem:
            if "is empty" in str(problem) or "ends too early" in str(problem):
                return Config(())
            raise

    change_reloads(wrong)


@mutant("RLD-008", also={"RLD-006": "its check adds servers too"})
def starts_an_added_server_twice() -> None:
    right = Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: diff.Diff) -> None:
        right(self, new, msgspec.structs.replace(changes, added=changes.added * 2))

    replace(right, wrong)


@mutant("RLD-008")
def drops_what_is_saved_in_a_hurry() -> None:
    right = Watch.changed
    has_looked: set[Watch] = set()

    async def wrong(self: Watch) -> bool:
        while True:
            forced = await right(self)
            if forced or self not in has_looked:
                has_looked.add(self)
                return forced
            if await is_the_only_save(self):
                return False

    async def is_the_only_save(self: Watch) -> bool:
        """Wait until nothing has changed for a second; whether nothing changed at all."""
        saves = 0
        while True:
            with anyio.move_on_after(1.0):
                await right(self)
                saves += 1
                continue
            return not saves

    # The proxy sees each save of a burst.
    watch.POLL_INTERVAL, watch.QUIET, watch.SECOND_LOOK = watch.FAST_POLL_INTERVAL, 0.0, float("inf")
    replace(right, wrong)


@mutant("RLD-009")
def takes_a_file_that_is_gone_for_an_empty_one() -> None:
    change_reloads(lambda path, environment: load(path, environment) if path.exists() else Config(()))


@mutant("RLD-009")
def loses_the_watch_when_the_file_is_gone() -> None:
    gone: list[Path] = []

    def wrong(path: Path) -> os.stat_result:
        if gone or not path.exists():
            gone.append(path)
            raise FileNotFoundError
        return os.stat(path)

    change_looks(wrong)


@mutant("OPS-010")
def loses_a_descriptor_with_every_reload() -> None:
    right = RunningGroup.run

    async def wrong(self: RunningGroup) -> None:
        os.dup(2)
        await right(self)

    replace(right, wrong)


@mutant("OPS-060")
def looks_at_the_file_all_the_time() -> None:
    watch.POLL_INTERVAL = watch.SLOW_LOOK = 0.0
