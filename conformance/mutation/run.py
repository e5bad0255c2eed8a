"""`python -m conformance mutants`: every known-bad program meets its checks, and the matrix has no hole.

Exit status: 0 no hole, 1 a hole, 2 wrong usage, 3 the harness broke or the run was interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from rich.console import Console

from conformance.checks import Check
from conformance.engine.loading import load_checks
from conformance.engine.runner import (
    DEFAULT_JOBS,
    Execution,
    Finished,
    RunEvent,
    WorkbenchFactory,
    workbench_factory,
)
from conformance.engine.scheduler import in_lanes, signals_cancel
from conformance.errors import UsageError
from conformance.model.baseline import Baseline
from conformance.model.registry import Registry
from conformance.mutants import Mutant
from conformance.mutation.loading import load_mutants
from conformance.mutation.matrix import Cell, Matrix, Worth, cell, worth_of
from conformance.mutation.plan import Against, Meeting, select, sut_of
from conformance.mutation.report import FORMATS, Progress, print_matrix
from conformance.reports import ReportFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from conformance.model.sut import Sut
    from conformance.model.verdicts import Verdict
    from conformance.workbench.workbench import Workbench

#: what is wrong keeps its check waiting for something that never comes
MUTANTS_AT_A_TIME = 2 * DEFAULT_JOBS
#: an impostor does next to nothing, so that its checks only wait
IMPOSTORS_FOR_A_JOB = 2
LOG_WIDTH = 180


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="python -m conformance mutants",
        description="Have every known-bad proxy, and programs that are no proxy at all, judged by the checks.",
        allow_abbrev=False,
    )
    result.add_argument(
        "selectors",
        nargs="*",
        metavar="SEL",
        help="what to select requirements by, the name of a program or a glob over names, or `impostors` (default: all)",
    )
    result.add_argument(
        "--against",
        choices=list(Against),
        type=Against,
        default=Against.OWN,
        help="the checks that a mutant meets: those it declares (default), its family's, or all",
    )
    result.add_argument(
        "--one-each",
        action="store_true",
        help="only the first mutant of each requirement against its check: whether every check can fail",
    )
    result.add_argument("--jobs", type=int, default=MUTANTS_AT_A_TIME, metavar="N", help="checks at a time")
    result.add_argument(
        "--report", action="append", default=[], metavar="FORMAT=PATH", help=f"FORMAT: {', '.join(FORMATS)}"
    )
    result.add_argument("--list", action="store_true", help="list the programs and what they declare")
    return result


def main(
    words: Sequence[str],
    *,
    checks: Mapping[str, Check] | None = None,
    mutants: Mapping[str, Mutant] | None = None,
    open_workbench: WorkbenchFactory | None = None,
) -> int:
    """Make the matrix; the exit status. All but `words` is for tests. Raises `UsageError` and `HarnessError`."""
    options = parser().parse_args(words)
    # A log has no width of its own.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    if options.jobs < 1:
        raise UsageError("--jobs must be at least 1")
    files = [ReportFile(request, FORMATS) for request in options.report]
    meetings = select(
        options.selectors,
        load_mutants() if mutants is None else mutants,
        load_checks() if checks is None else checks,
        Registry.load(),
        options.against,
        one_each=options.one_each,
    )
    if options.list:
        for meeting in meetings:
            if meeting.declared is not None:
                console.print(f"{meeting.check.id:<10}{meeting.program}: {meeting.declared}", soft_wrap=True)
        return 0
    with Progress(console, len(meetings)) as progress:
        matrix = anyio.run(hold, meetings, options.against, options.jobs, progress, open_workbench)
    print_matrix(console, matrix)
    for file in files:
        file.write(matrix)
    if not matrix.complete or any(one.worth is Worth.UNKNOWN for one in matrix.cells):
        return 3
    return 1 if matrix.holes else 0


async def hold(
    meetings: Sequence[Meeting],
    against: Against,
    jobs: int,
    on_cell: Callable[[Cell], None],
    open_workbench: WorkbenchFactory | None = None,
) -> Matrix:
    """Have all of them met, `jobs` checks at a time, and judge each."""
    began = time.monotonic()
    cells: list[Cell] = []

    def met(one: Cell) -> None:
        cells.append(one)
        on_cell(one)

    programs: dict[str, _Program] = {}
    for meeting in meetings:
        if meeting.program not in programs:
            programs[meeting.program] = _Program(sut_of(meeting), met, workbench_factory(open_workbench))
        programs[meeting.program].expect(meeting)
    async with signals_cancel() as scope:
        for kind, at_a_time in (("mutant", jobs), ("impostor", jobs * IMPOSTORS_FOR_A_JOB)):
            work = [(programs[one.program].execution(), one.check) for one in meetings if one.kind == kind]
            await in_lanes(work, at_a_time)
    order = {(meeting.program, meeting.check.id): place for place, meeting in enumerate(meetings)}
    return Matrix(
        against=against,
        cells=tuple(sorted(cells, key=lambda one: order[one.program, one.id])),
        duration_s=round(time.monotonic() - began, 1),
        complete=not scope.cancel_called,
    )


class _Program:
    """One known-bad program: what is expected of it, and what it wrote to stderr in each check."""

    def __init__(self, sut: Sut, on_cell: Callable[[Cell], None], open_workbench: WorkbenchFactory) -> None:
        self._sut = sut
        self._on_cell = on_cell
        self._open_workbench = open_workbench
        self._meetings: dict[str, Meeting] = {}
        self._stderr: dict[str, str] = {}
        self._execution: Execution | None = None

    def expect(self, meeting: Meeting) -> None:
        self._meetings[meeting.check.id] = meeting

    def execution(self) -> Execution:
        """The one execution of all its checks."""
        if self._execution is None:
            self._execution = Execution(
                self._sut,
                on_event=self._on_event,
                baseline=_Expected(self._meetings),
                open_workbench=self._open_and_listen,
            )
        return self._execution

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, Finished) and event.final:
            id_ = event.check.id
            self._on_cell(cell(self._meetings[id_], event.result, self._stderr.get(id_, "")))

    @asynccontextmanager
    async def _open_and_listen(self, sut: Sut, check_id: str, *, keep: bool) -> AsyncIterator[Workbench]:
        async with self._open_workbench(sut, check_id, keep=keep) as workbench:
            try:
                yield workbench
            finally:
                self._stderr[check_id] = workbench.stderr


class _Expected(Baseline):
    """What nobody has to try again: a kill that was declared, and whatever an impostor gets."""

    def __init__(self, meetings: Mapping[str, Meeting]) -> None:
        super().__init__()
        self._meetings = meetings

    def reason_for(self, requirement_id: str, verdict: Verdict) -> str | None:
        worth = worth_of(self._meetings[requirement_id], verdict)
        return None if worth in (Worth.UNDECLARED, Worth.WRONG_DEATH) else str(worth)
