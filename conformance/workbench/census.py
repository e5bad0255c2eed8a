"""Finds the processes of a check and ends every one of them.

A process belongs to a check when its environment holds the token, or its command line names the sandbox. It also belongs when it descends
from a process that belongs, or the check included its pid. Once found, a process stays found, even if it changes all of that. Its identity
is the pair of pid and creation time, so a reused pid is another process. A zombie counts as dead. After `end_all` none of these processes
is alive, even if they ignore signals or fork; otherwise `HarnessError` lists the survivors.

Limits: the census misses a process that drops the token from its environment AND loses its parent between two looks. It finds this process
if its command line names the sandbox, as that of every mock does. The `Starts` of a workbench tell which start of the program such a mock
belongs to. The mock is younger than the program, and no other start of the program has it. On Linux the runner adopts orphans
(`adopt_orphans`) and collects the dead ones; on other systems the first process does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import anyio
import psutil

from conformance.errors import HarnessError
from conformance.workbench import processes
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36

#: pids whose status a `Popen` object of the runner collects; the census must not take it away
managed_pids: set[int] = set()


@dataclass(frozen=True)
class ProcessRef:
    """A process that was alive when the census looked."""

    pid: int
    born: float
    command: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.pid}: {shorten(' '.join(self.command.split()))}"


#: looks without a living process before the check counts as ended; one look can miss a child (see `processes`)
_LOOKS = 3


class Census:
    """The processes with this token, or with a token that begins with it and a dot, or with `folder` in their command line."""

    def __init__(self, token: str, folder: Path | None = None) -> None:
        self._token = token
        self._folder = None if folder is None else str(folder)
        self._seen: set[tuple[int, float]] = set()

    def alive(self) -> list[ProcessRef]:
        """The living processes that belong, in order of the pids."""
        table = processes.table()
        members = self._look(table)
        return [
            ProcessRef(pid, table[pid].born, table[pid].command)
            for pid in sorted(members)
            if table[pid].lives
        ]

    def _look(self, table: Mapping[int, processes.ProcessRow]) -> set[int]:
        """The pids in the table that belong; they stay found."""
        members = {pid for pid, process in table.items() if self._belongs(process)}
        while grown := {pid for pid, row in table.items() if row.ppid in members and pid not in members}:
            members |= grown
        self._seen |= {(pid, table[pid].born) for pid in members}
        return members

    def include(self, pid: int) -> None:
        """Make this process belong from now on, even if /proc shows nothing of the check."""
        if (born := processes.born(pid)) is not None:
            self._seen.add((pid, born))

    async def end_all(self, within: float = 5.0) -> list[ProcessRef]:
        """Kill until no process is left, and return those that it killed. Raises `HarnessError` after `within` seconds."""
        killed: dict[tuple[int, float], ProcessRef] = {}
        deadline = anyio.current_time() + within
        looks_without = 0
        while (living := self.alive()) or (looks_without := looks_without + 1) < _LOOKS:
            looks_without = 0 if living else looks_without
            if living and anyio.current_time() > deadline:
                raise HarnessError(f"could not end {', '.join(map(str, living))}")
            for process in living:
                killed[process.pid, process.born] = process
                _kill(process)
            await anyio.sleep(0.01)
        self.collect_dead()
        return list(killed.values())

    def collect_dead(self, pids: Iterable[int] = ()) -> None:
        """Collect the status of zombies that belong, or whose pid is in `pids`."""
        for pid in {pid for pid, _ in self._seen} | set(pids):
            if pid not in managed_pids:
                _collect(pid)

    def _belongs(self, row: processes.ProcessRow) -> bool:
        if (row.pid, row.born) in self._seen:
            return True
        if row.token is not None and (row.token == self._token or row.token.startswith(f"{self._token}.")):
            return True
        return self._folder is not None and self._folder in row.command


class Starts:
    """The censuses of the starts of a program, whose mocks have `folder` in their command line."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._all: list[_StartCensus] = []

    def census(self, token: str, pid: int) -> Census:
        """The census of the start with this token and the process `pid`."""
        made = _StartCensus(token, processes.born(pid) or 0.0, self)
        self._all.append(made)
        return made

    def adopt(self, table: Mapping[int, processes.ProcessRow], start: _StartCensus) -> None:
        """Give to `start` the mocks without a token that no start has and that are younger than its program."""
        for one in self._all:
            one.look_without_orphans(table)
        taken = {found for one in self._all for found in one.found}
        for row in table.values():
            is_orphan = row.token is None and self._folder in row.command and (row.pid, row.born) not in taken
            if is_orphan and row.born >= start.since:
                start.found.add((row.pid, row.born))


class _StartCensus(Census):
    """The processes of one start of the program, also mocks that got no token and lost their parent."""

    def __init__(self, token: str, since: float, starts: Starts) -> None:
        super().__init__(token)
        self.since = since
        self._starts = starts

    @property
    def found(self) -> set[tuple[int, float]]:
        """Pid and birth of each process found so far."""
        return self._seen

    def look_without_orphans(self, table: Mapping[int, processes.ProcessRow]) -> None:
        """Find what belongs by token and descent."""
        super()._look(table)

    def _look(self, table: Mapping[int, processes.ProcessRow]) -> set[int]:
        self._starts.adopt(table, self)
        return super()._look(table)


def _kill(process: ProcessRef) -> None:
    with suppress(OSError):  # it has gone or belongs to another user: the next look tells which
        if processes.born(process.pid) == process.born:
            os.kill(process.pid, signal.SIGKILL)


def _collect(pid: int) -> None:
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            os.waitpid(pid, os.WNOHANG)
    except (psutil.Error, ChildProcessError, OSError):
        pass  # not a child of the runner, or already collected


@cache
def adopt_orphans() -> bool:
    """Make this process the parent of its descendants' orphans. Returns whether that worked; it works on Linux only."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
