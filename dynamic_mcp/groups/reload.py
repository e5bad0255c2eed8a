"""From a saved file to a changed proxy: look, load, compare, apply.

A file that cannot be used changes nothing. It is said once what is wrong with it, a moment later, because a file that is being written
is not valid either; the same for a file that is gone. What counts is what the file says: a new time stamp, mode or layout changes nothing.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import anyio

from dynamic_mcp.config import load
from dynamic_mcp.config.diff import diff
from dynamic_mcp.config.model import Config
from dynamic_mcp.config.watch import Watch
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.audit import trail
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.log import log

#: Seconds that a file may stay unusable before that is said.
PATIENCE = 1.0


class Reload:
    """Keeps the supervisor at what the file says; ``config`` is what it said at the start."""

    def __init__(self, path: Path, config: Config, supervisor: Supervisor) -> None:
        self._path = path
        self._config = config
        self._supervisor = supervisor
        self._watch = Watch(path)
        self._said = ""

    def force(self) -> None:
        """Read the file now, whatever its time stamp says."""
        self._watch.force()

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            problem = self._take(forced=await self._watch.changed())
            while problem:
                with anyio.move_on_after(PATIENCE) as patience:
                    problem = self._take(forced=await self._watch.changed())
                if patience.cancelled_caught:
                    self._say(problem)
                    break

    def _take(self, *, forced: bool) -> str:
        """Apply what the file says now; what is wrong with it, if it cannot be used."""
        if _is_stream(self._path):
            return ""
        began = time.monotonic()
        try:
            new = load(self._path, os.environ)
        except ConfigError as error:
            return str(error)
        self._said = ""
        old, self._config = self._config, new
        for warning in new.warnings:
            if warning not in old.warnings:
                log.warning("%s", warning)
        applied = forced or new.servers != old.servers or new.audit != old.audit
        if new.exposed and (applied or new.exposed != old.exposed):
            log.warning("%s", new.exposed)
        if applied:
            changes = diff(old, new)
            self._supervisor.apply(new, changes)
            log.info("configuration reloaded: %s", changes)
            trail.record("reload", began=began, changes=str(changes))
            if new.audit != old.audit:
                # The end of one log says why, and so does the beginning of the other.
                trail.configure(new.audit)
                trail.record("reload", began=began, changes=str(changes))
        return ""

    def _say(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            trail.record("reload", outcome="failed", reason=problem)
            log.error("configuration not reloaded, the servers stay as they are: %s", problem)


def _is_stream(path: Path) -> bool:
    """Whether this is a pipe or the like, as a shell's ``<(command)``: it was read, and to read it again could take for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
