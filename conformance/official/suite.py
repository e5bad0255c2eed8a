"""Runs one scenario of the official suite and reads its findings.

The suite's own exit status is not enough. The suite takes a client that died by a signal for a success, and waits forever for a client
that it cannot end. So every run is a process group with a deadline, and its list of checks decides. A run without a list, or with a list
that proves nothing, is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Side = Literal["server", "client"]

#: the revisions to judge; a scenario that has only older ones runs at its newest
REVISIONS = ("2025-11-25", "2026-07-28")
EXTENSION = "extension"

#: seconds for one run, and for the client command in it
_RUN_TIME = 60.0
_CLIENT_TIME = 40.0
_NOT_JUDGING = ("SUCCESS", "INFO", "SKIPPED")
#: a check that a silent implementation passes too, so it proves nothing
_VACUOUS = "wire-schema-valid"


@dataclass(frozen=True)
class Scenario:
    """A scenario at one revision of the protocol."""

    side: Side
    name: str
    revision: str

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class ScenarioOutcome:
    """The outcome of a run. `problems` is empty after a success."""

    scenario: Scenario
    passed: int
    problems: tuple[str, ...]
    seconds: float


class Suite:
    """The installed suite; `command` starts it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment

    async def scenarios(self, side: Side) -> list[Scenario]:
        """All scenarios of the suite for this side."""
        listed = await self._output("list", f"--{side}")
        found = []
        for name, revisions in re.findall(r"^  - (\S+) \[(.*)\]$", listed, re.MULTILINE):
            known = revisions.split(",")
            judged = [one for one in known if one in REVISIONS] or known[-1:]
            found += [Scenario(side, name, revision) for revision in judged]
        return found

    async def judge_server(self, scenario: Scenario, url: str) -> ScenarioOutcome:
        """Run a server scenario against a URL."""
        return await self._judge(scenario, "--url", url)

    async def judge_client(self, scenario: Scenario, command: list[str]) -> ScenarioOutcome:
        """Run a client scenario. The suite appends the URL of its server to the command."""
        # `exec`, because the suite starts a shell and its SIGTERM would end only that.
        line = f"exec {shlex.join(command)}"
        return await self._judge(scenario, "--command", line, "--timeout", str(int(_CLIENT_TIME * 1000)))

    async def _judge(self, scenario: Scenario, *options: str) -> ScenarioOutcome:
        began = time.monotonic()
        revision = [] if scenario.revision == EXTENSION else ["--spec-version", scenario.revision]
        with tempfile.TemporaryDirectory(prefix="official-") as folder:
            output = await self._output(
                scenario.side, "--scenario", scenario.name, *revision, "-o", folder, *options
            )
            checks, words = _results_in(Path(folder))
        problems = [
            f"{check['id']}: {check.get('errorMessage') or check['status']}"
            for check in checks
            if check["status"] not in _NOT_JUDGING
        ]
        passed = [check["id"] for check in checks if check["status"] == "SUCCESS"]
        if "timed out after" in output:
            problems.append(f"the client did not end within {_CLIENT_TIME:g} s")
        if not problems and not set(passed) - {_VACUOUS}:
            problems.append(f"the run proves nothing; the suite printed:\n{_tail(output)}")
        if problems and words:
            problems.append(f"the client printed:\n{_tail(words)}")
        return ScenarioOutcome(scenario, len(passed), tuple(problems), time.monotonic() - began)

    async def _output(self, *arguments: str) -> str:
        """The output of one run of the suite. After the deadline SIGKILL ends its whole process group."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_RUN_TIME):
                output, _ = await process.communicate()
                return output.decode(errors="replace")
        except TimeoutError:
            return f"the suite was killed after {_RUN_TIME:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _results_in(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The checks, and the stderr of the client."""
    found = list(folder.rglob("checks.json"))
    if not found:
        return [], ""
    words = found[0].with_name("stderr.txt")
    return json.loads(found[0].read_text("utf-8")), words.read_text("utf-8") if words.exists() else ""


def _tail(output: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    return "\n".join(plain.strip().splitlines()[-8:])
