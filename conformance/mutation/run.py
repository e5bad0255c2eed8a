"""`python -m conformance mutants`: run every known-bad program and legitimate design against its checks; report the gaps of the matrix.

The exit status is 0 for no gap, 1 for a gap, 2 for wrong usage, and 3 if the harness broke. After a signal, it is 128 and the number of the
signal.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
from rich.console import Console

from conformance.checks import Check
from conformance.checks.loading import load_checks
from conformance.engine.execution import (
    AttemptFinished,
    Execution,
    RunEvent,
    RunOptions,
    WorkbenchFactory,
    workbench_factory,
)
from conformance.engine.runner import DEFAULT_JOBS
from conformance.engine.scheduler import interrupted_status, schedule, signals_cancel
from conformance.errors import UsageError
from conformance.model.baseline import Baseline
from conformance.model.registry import Registry
from conformance.mutants import Legitimate, Mutant
from conformance.mutants.loading import load_designs, load_mutants
from conformance.mutation.matrix import Matrix, MatrixCell, Outcome, cell_of, outcome_of
from conformance.mutation.plan import Against, ProgramKind, Trial, select, sut_of
from conformance.mutation.reached import telling
from conformance.mutation.report import FORMATS, Progress, print_matrix
from conformance.reports.formats import ReportFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from conformance.model.sut import Sut
    from conformance.model.verdicts import Verdict
    from conformance.workbench.workbench import Workbench

#: more than in an ordinary run, because a check of a mutant mostly waits for something that never happens
MUTANT_JOBS = 2 * DEFAULT_JOBS
#: null programs for each job: they do next to nothing, so their checks only wait
NULL_PROGRAMS_PER_JOB = 2
#: Multiplies the deadlines of the checks. Many mutants make a check wait almost until its deadline for something that never happens. On a
#: busy machine the deadline would pass before the check sees the mistake, and a second attempt, alone, would take as long again.
DEADLINES = 3.0
LOG_WIDTH = 180


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="python -m conformance mutants",
        description="Run known-bad proxies, and programs that are no proxy at all, against the checks.",
        allow_abbrev=False,
    )
    result.add_argument(
        "selectors",
        nargs="*",
        metavar="SEL",
        help="a selector of requirements as in `run`, a program's name or a glob over names, `null-programs`, or `legitimate`"
        " (default: all)",
    )
    result.add_argument(
        "--against",
        choices=list(Against),
        type=Against,
        default=Against.OWN,
        help="the checks that judge a mutant: those it declares (default), also its family's, those that run what it changes, or all",
    )
    result.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="SEL",
        help="these checks judge only the mutants that declare them",
    )
    result.add_argument(
        "--one-each",
        action="store_true",
        help="only the first mutant of each requirement, and only until the first broken case; without --against, only against its"
        " check: shows that every check can fail",
    )
    result.add_argument("--sample", type=int, metavar="N", help="only N of the selected trials, by chance")
    result.add_argument("--jobs", type=int, default=MUTANT_JOBS, metavar="N", help="checks at a time")
    result.add_argument(
        "--report", action="append", default=[], metavar="FORMAT=PATH", help=f"FORMAT: {', '.join(FORMATS)}"
    )
    result.add_argument(
        "--list", action="store_true", help="list the programs and what they declare, without running them"
    )
    return result


def main(
    words: Sequence[str],
    *,
    checks: Mapping[str, Check] | None = None,
    mutants: Mapping[str, Mutant] | None = None,
    designs: Mapping[str, Legitimate] | None = None,
    open_workbench: WorkbenchFactory | None = None,
) -> int:
    """Run the command and return its exit status. Tests pass more than `words`. Raises `UsageError` and `HarnessError`."""
    options = parser().parse_args(words)
    # A log file has no width, and rich would cut the table at 80 columns.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    if options.jobs < 1:
        raise UsageError("--jobs must be at least 1")
    if options.sample is not None and options.sample < 1:
        raise UsageError("--sample must be at least 1")
    files = [ReportFile(request, FORMATS) for request in options.report]
    trials = select(
        options.selectors,
        load_mutants() if mutants is None else mutants,
        load_checks() if checks is None else checks,
        Registry.load(),
        options.against,
        one_each=options.one_each,
        designs=designs if designs is not None or mutants is not None else load_designs(),
        skip=options.skip,
    )
    if options.against is Against.REACHED:
        planned = len(trials)
        trials = telling(trials, options.jobs, open_workbench)
        console.print(
            f"{len(trials)} of {planned} trials: the other checks run nothing that the mutant changes"
        )
    if options.sample is not None and options.sample < len(trials):
        console.print(f"{options.sample} of {len(trials)} trials, by chance")
        drawn = sorted(random.sample(range(len(trials)), options.sample))
        trials = [trials[place] for place in drawn]
    if options.list:
        for trial in trials:
            is_design = trial.kind is ProgramKind.LEGITIMATE
            expected = trial.declared or ("must not be red" if is_design else None)
            if expected is not None:
                console.print(f"{trial.check.id:<10}{trial.program}: {expected}", soft_wrap=True)
        return 0
    with Progress(console, len(trials)) as progress:
        run = partial(run_trials, one_case=options.one_each)
        matrix = anyio.run(run, trials, options.against, options.jobs, progress, open_workbench)
    print_matrix(console, matrix)
    for file in files:
        file.write(matrix)
    if not matrix.complete:
        return interrupted_status(matrix.stopped_by)
    if any(cell.outcome is Outcome.UNKNOWN for cell in matrix.cells):
        return 3
    return 1 if matrix.gaps else 0


async def run_trials(
    trials: Sequence[Trial],
    against: Against,
    jobs: int,
    on_cell: Callable[[MatrixCell], None],
    open_workbench: WorkbenchFactory | None = None,
    *,
    one_case: bool = False,
) -> Matrix:
    """Run all trials, `jobs` checks of mutants at a time, and judge each. With `one_case`, a check ends with its first broken case."""
    began = time.monotonic()
    cells: list[MatrixCell] = []

    def keep(cell: MatrixCell) -> None:
        cells.append(cell)
        on_cell(cell)

    programs: dict[str, _Program] = {}
    for trial in trials:
        if trial.program not in programs:
            programs[trial.program] = _Program(
                sut_of(trial),
                keep,
                workbench_factory(open_workbench),
                one_case,
                1.0 if trial.kind is ProgramKind.LEGITIMATE else DEADLINES,
            )
        programs[trial.program].expect(trial)
    async with signals_cancel() as interruption:
        for kind, at_a_time in (
            (ProgramKind.MUTANT, jobs),
            (ProgramKind.LEGITIMATE, DEFAULT_JOBS),
            (ProgramKind.NULL_PROGRAM, jobs * NULL_PROGRAMS_PER_JOB),
        ):
            work = [
                (programs[trial.program].execution(), trial.check) for trial in trials if trial.kind is kind
            ]
            await schedule(work, at_a_time)
    order = {(trial.program, trial.check.id): place for place, trial in enumerate(trials)}
    return Matrix(
        against=against,
        cells=tuple(sorted(cells, key=lambda cell: order[cell.program, cell.id])),
        duration_s=round(time.monotonic() - began, 1),
        complete=interruption.signal is None,
        stopped_by=interruption.signal.name if interruption.signal else "",
    )


class _Program:
    """One known-bad program: its trials, and what it wrote to stderr in each."""

    def __init__(
        self,
        sut: Sut,
        on_cell: Callable[[MatrixCell], None],
        open_workbench: WorkbenchFactory,
        one_case: bool,
        time_scale: float,
    ) -> None:
        self._sut = sut
        self._on_cell = on_cell
        self._open_workbench = open_workbench
        self._one_case = one_case
        self._time_scale = time_scale
        self._trials: dict[str, Trial] = {}
        self._stderr: dict[str, str] = {}
        self._execution: Execution | None = None

    def expect(self, trial: Trial) -> None:
        self._trials[trial.check.id] = trial

    def execution(self) -> Execution:
        """The one execution of all its checks."""
        if self._execution is None:
            options = RunOptions(
                time_scale=self._time_scale,
                baseline=_Expected(self._trials),
                open_workbench=self._open_and_listen,
            )
            self._execution = Execution(self._sut, options, on_event=self._on_event)
        return self._execution

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, AttemptFinished) and event.final:
            id_ = event.check.id
            self._on_cell(cell_of(self._trials[id_], event.result, self._stderr.get(id_, "")))

    @asynccontextmanager
    async def _open_and_listen(self, sut: Sut, check_id: str, *, keep: bool) -> AsyncIterator[Workbench]:
        async with self._open_workbench(sut, check_id, keep=keep) as workbench:
            workbench.stops_at_first_violation = self._one_case
            try:
                yield workbench
            finally:
                self._stderr[check_id] = workbench.stderr


class _Expected(Baseline):
    """Treats every outcome as expected, so that the engine does not retry it, except those that a retry could clear up."""

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        super().__init__()
        self._trials = trials

    def reason_for(self, requirement_id: str, verdict: Verdict) -> str | None:
        outcome = outcome_of(self._trials[requirement_id], verdict)
        is_doubtful = outcome in (Outcome.UNDECLARED, Outcome.WRONG_DEATH, Outcome.UNFAIR, Outcome.STALE)
        return None if is_doubtful else str(outcome)
