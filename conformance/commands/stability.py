"""`python -m conformance stability`: whole runs in a row, and one more on a busy machine, without one red check.

Verdicts must not depend on luck, so a check that needs its second attempt counts as red here. Beside the last run there are busy loops, by
default one for each core. Exit status: 0 every run was clean; 1 a run was not; 2 wrong usage; 3 the harness broke. After an interruption no
further run begins; the status is 128 and the number of the signal, so 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from rich.console import Console
from rich.table import Table

from conformance.checks import Check
from conformance.checks.loading import load_checks
from conformance.commands.run_options import BROKEN
from conformance.engine.execution import RunOptions, WorkbenchFactory
from conformance.engine.runner import DEFAULT_JOBS, run
from conformance.engine.scheduler import interrupted_status
from conformance.errors import UsageError
from conformance.model.profile import Profile
from conformance.model.registry import Registry
from conformance.model.selectors import select
from conformance.model.sut import make_sut
from conformance.model.verdicts import Verdict
from conformance.reports.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from conformance.model.results import RunReport
    from conformance.model.sut import Sut

RUNS = 10

#: ends by itself when its parent has gone
_BUSY_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@dataclass(frozen=True)
class Round:
    """One whole run, and the number of busy loops beside it."""

    number: int
    busy: int
    report: RunReport

    @property
    def unstable(self) -> list[str]:
        """One line for each check that was not green at its first attempt."""
        return [
            f"run {self.number}: {result.id} {', then '.join(attempt.verdict for attempt in result.attempts)}: "
            + " ".join(result.attempts[0].message.split())
            for result in self.report.results
            if len(result.attempts) > 1 or result.is_failure(strict=True)
        ]


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="python -m conformance stability",
        description="Make whole runs in a row, and one more beside busy loops. No check may be red or need a second attempt.",
        epilog="The command after -- is the same as for `run`.",
        allow_abbrev=False,
    )
    result.add_argument(
        "--runs", type=int, default=RUNS, metavar="N", help=f"runs in a row (default: {RUNS})"
    )
    result.add_argument(
        "--busy",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="busy loops beside the last run (default: one for each core); 0 leaves that run out",
    )
    result.add_argument("--only", action="append", default=[], metavar="SEL", help="only these checks")
    result.add_argument("--skip", action="append", default=[], metavar="SEL", help="not these")
    result.add_argument("--jobs", type=int, default=DEFAULT_JOBS, metavar="N", help="checks at a time")
    result.add_argument("--profile", metavar="NAME|FILE", help="as for `run`")
    return result


def main(
    words: Sequence[str],
    command: Sequence[str] = (),
    *,
    checks: Mapping[str, Check] | None = None,
    open_workbench: WorkbenchFactory | None = None,
) -> int:
    """Run the command and return its exit status. Tests pass the keywords. Raises `UsageError`."""
    options = parser().parse_args(words)
    console = Console(highlight=False)
    if options.runs < 0 or options.busy < 0 or options.jobs < 1 or options.runs + options.busy == 0:
        raise UsageError("--runs and --busy leave nothing to do, or --jobs is not positive")
    known = load_checks() if checks is None else checks
    slow = [check.id for check in known.values() if check.slow]
    ids = select(Registry.load(), options.only, options.skip, slow_ids=slow)
    chosen = [known[id_] for id_ in ids if id_ in known]
    if not chosen:
        raise UsageError("nothing to run: no check exists for the selection")
    sut = make_sut(command, Profile.load(options.profile) if options.profile else None)
    loads = [0] * options.runs + ([options.busy] if options.busy else [])
    rounds = make_rounds(sut, chosen, loads, options.jobs, _announcer(console, len(loads)), open_workbench)
    _print(console, rounds)
    last = rounds[-1].report
    if not last.complete:
        return interrupted_status(last.stopped_by)
    if any(result.verdict is Verdict.HARNESS_ERROR for one in rounds for result in one.report.results):
        return BROKEN
    return 1 if any(one.unstable for one in rounds) else 0


def make_rounds(
    sut: Sut,
    checks: Sequence[Check],
    loads: Sequence[int],
    jobs: int,
    on_round: Callable[[Round], None],
    open_workbench: WorkbenchFactory | None = None,
) -> list[Round]:
    """Make one run for each of `loads`, a number of busy loops, until a run is interrupted."""
    rounds: list[Round] = []
    for busy in loads:
        with busy_loops(busy):

            async def one_run() -> RunReport:
                return await run(sut, checks, RunOptions(open_workbench=open_workbench), jobs=jobs)

            rounds.append(Round(len(rounds) + 1, busy, anyio.run(one_run)))
        on_round(rounds[-1])
        if not rounds[-1].report.complete:
            break
    return rounds


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Inside the block this many processes keep the cores busy."""
    loops = [subprocess.Popen([sys.executable, "-I", "-S", "-c", _BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _announcer(console: Console, total: int) -> Callable[[Round], None]:
    def announce(one: Round) -> None:
        found = f"{len(one.unstable)} unstable" if one.unstable else "clean"
        console.print(f"run {one.number} of {total}: {found} ({one.report.duration_s:.0f} s)")

    return announce


def _print(console: Console, rounds: Sequence[Round]) -> None:
    table = Table("run", "busy loops", "checks", "red", "retried", "s", box=None)
    for one in rounds:
        summary = one.report.summary
        counts = summary.executed, summary.failures, summary.rerun
        table.add_row(str(one.number), str(one.busy), *map(str, counts), f"{one.report.duration_s:.1f}")
    console.print(table)
    for one in rounds:
        for line in one.unstable:
            console.print(plain(line), soft_wrap=True)
