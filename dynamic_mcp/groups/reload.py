"""The reload of the configuration: watch the file, load it, compare, and apply the changes.

An invalid or missing file changes nothing. The proxy reports it once, and only after ``REPORT_DELAY``, because a file that a program
still writes is invalid too. Only the content counts: a new time stamp, mode or layout changes no server. A new mode can cause a warning.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

import anyio

from dynamic_mcp.config.diff import Diff, diff
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config
from dynamic_mcp.config.watch import Watch
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import log

#: Seconds before the proxy reports an invalid file.
REPORT_DELAY = 1.0


class Reloadable(Protocol):
    """What uses a configuration, and can use another one."""

    def apply(self, config: Config, changes: Diff) -> None:
        """Use another configuration, with these changes."""
        ...


class Reload:
    """Applies each change of the file to ``target``. ``config`` is the content at the start."""

    def __init__(self, path: Path, config: Config, target: Reloadable, hooks: Hooks) -> None:
        self._path = path
        self._config = config
        self._target = target
        self._watch = Watch(path)
        self._hooks = hooks
        self._warnings = hooks.warnings(path)
        self._reported = ""

    def force(self) -> None:
        """Read the file now, even if it looks unchanged."""
        self._watch.force()

    async def run(self) -> None:
        """Follow the file until cancelled."""
        try:
            while True:
                problem = self._take(forced=await self._watch.changed())
                while problem:
                    with anyio.move_on_after(REPORT_DELAY) as waiting:
                        problem = self._take(forced=await self._watch.changed())
                    if waiting.cancelled_caught:
                        self._report(problem)
                        break
        finally:
            self._watch.close()

    def _take(self, *, forced: bool) -> str:
        """Apply the current content of the file. Returns the problem of an invalid file, else ""."""
        began = time.monotonic()
        try:
            new = load(self._path, os.environ)
            self._hooks.validate(new)
        except ConfigError as error:
            return str(error)
        self._reported = ""
        old, self._config = self._config, new
        for warning in new.warnings:
            if warning not in old.warnings:
                log.warning("%s", warning)
        applied = forced or new.servers != old.servers or new.audit != old.audit
        warnings, self._warnings = self._warnings, self._hooks.warnings(self._path)
        for warning in self._warnings if applied or warnings != self._warnings else ():
            log.warning("%s", warning)
        if applied:
            changes = diff(old, new)
            self._target.apply(new, changes)
            log.info("configuration reloaded: %s", changes)
            self._hooks.reloaded(new, began, str(changes))
        return ""

    def _report(self, problem: str) -> None:
        if problem != self._reported:
            self._reported = problem
            self._hooks.record("reload", outcome="failed", reason=problem)
            log.error("configuration not reloaded, the servers stay as they are: %s", problem)
