"""Which processes belong to a check, and how to end every one of them.

A process belongs when its environment holds the token, its command line names the sandbox, it descends from a
process that belongs, was included by its pid, or was seen to belong before (its identity is the pair of pid and
creation time, so a reused pid is somebody else). A zombie is dead. After `end_all` nothing that was found is alive, whatever it
ignores or forks, or a `HarnessError` says what is left.

Limits: a process that dropped the token from its environment AND lost its parent between two looks is not
found, unless its command line names the sandbox, as that of every mock server does. On Linux orphans come
back to the runner (`adopt_orphans`), which collects the dead ones; elsewhere the system's first process does.
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

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36

#: pids that a `Popen` object of ours waits for: collecting their status would steal it
managed_pids: set[int] = set()


@dataclass(frozen=True)
class ProcessRef:
    """One process, alive when it was seen."""

    pid: int
    born: float
    command: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.pid}: {self.command}"


# One that forks and goes can hide its child from a look (see `processes`), but not from all of them.
_LOOKS = 3


class Census:
    """The processes with a token (or a token that begins with it and a dot), or with `folder` in their
    command.
    """

    def __init__(self, token: str, folder: Path | None = None) -> None:
        self._token = token
        self._folder = None if folder is None else str(folder)
        self._seen: set[tuple[int, float]] = set()

    def alive(self) -> list[ProcessRef]:
        """Everybody who belongs and is not a zombie, by pid."""
        table = processes.table()
        members = {pid for pid, process in table.items() if self._belongs(process)}
        while grown := {pid for pid, row in table.items() if row.ppid in members and pid not in members}:
            members |= grown
        self._seen |= {(pid, table[pid].born) for pid in members}
        return [
            ProcessRef(pid, table[pid].born, table[pid].command)
            for pid in sorted(members)
            if table[pid].lives
        ]

    def include(self, pid: int) -> None:
        """From now on this process belongs, whatever /proc shows of it."""
        if (born := processes.born(pid)) is not None:
            self._seen.add((pid, born))

    async def end_all(self, within: float = 5.0) -> list[ProcessRef]:
        """Kill until nobody is left; returns who had to be killed. Raises `HarnessError` after `within`
        seconds.
        """
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
        """Wait for zombies of ours that belong, or whose pid a mock server has written down."""
        for pid in {pid for pid, _ in self._seen} | set(pids):
            if pid not in managed_pids:
                _collect(pid)

    def _belongs(self, row: processes.ProcessRow) -> bool:
        if (row.pid, row.born) in self._seen:
            return True
        if row.token is not None and (row.token == self._token or row.token.startswith(f"{self._token}.")):
            return True
        return self._folder is not None and self._folder in row.command


def _kill(process: ProcessRef) -> None:
    with suppress(OSError):  # gone already, or not ours: the next look tells
        if processes.born(process.pid) == process.born:
            os.kill(process.pid, signal.SIGKILL)


def _collect(pid: int) -> None:
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            os.waitpid(pid, os.WNOHANG)
    except (psutil.Error, ChildProcessError, OSError):
        pass  # not a child of ours, or already collected


@cache
def adopt_orphans() -> bool:
    """Make this process the new parent of its descendants' orphans (Linux only); whether that worked."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
