"""Judges each trial, one known-bad program against one check: a `MatrixCell`, and all of them together as the `Matrix`.

The checks that a mutant declares must fail for it, its own check because of its own mistake, and no other check may fail. A null
program does nothing that a check could accept, so it must pass no check; where one passes nevertheless, it declares the reason.
No check may be red for a legitimate design. A warning is none, unless the design declares that the check passes.
Every other outcome is a gap. Nothing in this module runs a program.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from conformance.model.verdicts import Verdict
from conformance.mutation.plan import ProgramKind

if TYPE_CHECKING:
    from conformance.model.results import Result
    from conformance.mutation.plan import Trial

#: how Python, and the bundled proxy, begin to report an unexpected exception
_STACK_TRACE = re.compile(r"Traceback \(most recent call last\)|internal error \w")
_MAX_TRACE = 4000


class Outcome(StrEnum):
    """What one trial says about the check, or about the program."""

    KILLED = "killed"
    HELD = "held"
    NOT_PASSED = "not passed"
    EXCUSED = "excused"
    #: the check passed a mutant that declares to fail it
    SURVIVED = "survived"
    #: the check failed, but not because the mutant broke its requirement
    WRONG_DEATH = "died of something else"
    #: the check failed, but the mutant wrote a stack trace that is not part of its mistake
    BROKEN = "broken"
    UNDECLARED = "undeclared kill"
    #: the check is red for a legitimate design, or does not pass it although the design declares that
    UNFAIR = "red for a legitimate design"
    VACUOUS = "vacuous pass"
    STALE = "stale excuse"
    #: the harness broke
    UNKNOWN = "unknown"

    @property
    def is_gap(self) -> bool:
        """Whether something is wrong with the check or with the program."""
        return self not in (Outcome.KILLED, Outcome.HELD, Outcome.NOT_PASSED, Outcome.EXCUSED)


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True):
    """One program and one check. The JSON report calls `outcome` "worth"."""

    program: str
    kind: ProgramKind
    id: str
    #: why the author expects a mutant to fail here, or another program to pass; None = not expected
    declared: str | None
    outcome: Outcome = msgspec.field(name="worth")
    verdict: Verdict
    message: str
    #: verdicts of all attempts, the last one being `verdict`
    attempts: tuple[Verdict, ...]
    duration_s: float
    #: the stack trace that makes a kill suspicious
    stack_trace: str = ""
    rerun: str = ""

    @property
    def summary(self) -> str:
        """The message on one line: what the check expected and what it saw."""
        return " ".join(self.message.split())


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a run, mutants first."""

    against: str
    cells: tuple[MatrixCell, ...]
    duration_s: float
    complete: bool = True
    #: the name of the signal that interrupted the run, or empty
    stopped_by: str = ""

    @property
    def gaps(self) -> list[MatrixCell]:
        return [cell for cell in self.cells if cell.outcome.is_gap]

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells for each outcome, zeros included."""
        found = Counter(cell.outcome for cell in self.cells)
        return {str(outcome): found[outcome] for outcome in Outcome}

    def of_kind(self, kind: ProgramKind) -> list[MatrixCell]:
        return [cell for cell in self.cells if cell.kind == kind]


def stack_trace_in(stderr: str) -> str:
    """What a program wrote to stderr from its first stack trace on, or nothing."""
    found = _STACK_TRACE.search(stderr)
    return stderr[found.start() :][:_MAX_TRACE] if found else ""


def cell_of(trial: Trial, result: Result, stderr: str) -> MatrixCell:
    """Judge the result of a trial; `stderr` is what the program wrote during the trial."""
    trace = "" if trial.crashes else stack_trace_in(stderr)
    return MatrixCell(
        program=trial.program,
        kind=trial.kind,
        id=result.id,
        declared=trial.declared,
        outcome=outcome_of(trial, result.verdict, trace),
        verdict=result.verdict,
        message=result.message,
        attempts=tuple(attempt.verdict for attempt in result.attempts),
        duration_s=round(result.duration_s, 3),
        stack_trace=trace,
        rerun=result.rerun,
    )


def outcome_of(trial: Trial, verdict: Verdict, stack_trace: str = "") -> Outcome:
    """The outcome of a trial with this verdict; `stack_trace` is one that does not belong to the mistake."""
    if verdict is Verdict.HARNESS_ERROR:
        return Outcome.UNKNOWN
    if trial.kind is ProgramKind.LEGITIMATE:
        fair = (
            (Verdict.PASS, Verdict.WARN, Verdict.NOT_APPLICABLE)
            if trial.declared is None
            else (Verdict.PASS,)
        )
        return Outcome.HELD if verdict in fair else Outcome.UNFAIR
    declared, passed = trial.declared is not None, verdict is Verdict.PASS
    if trial.kind is ProgramKind.NULL_PROGRAM:
        return _NULL_PROGRAM[declared, passed]
    if not declared and verdict is Verdict.NOT_APPLICABLE:
        return Outcome.HELD  # the mistake is that something is not declared, and its own check sees that
    if passed or not declared:
        return _MUTANT[declared, passed]
    if stack_trace:
        return Outcome.BROKEN
    # The mutant's own check must see the mistake. Another check may fail earlier, because the mistake prevents its set-up.
    is_seen = verdict in (Verdict.FAIL, Verdict.WARN) or (verdict is Verdict.CRASH and trial.crashes)
    return Outcome.KILLED if is_seen or not trial.own else Outcome.WRONG_DEATH


#: by whether the program declares the verdict, and whether the check passed
_MUTANT = {
    (True, True): Outcome.SURVIVED,
    (False, True): Outcome.HELD,
    (False, False): Outcome.UNDECLARED,
}
_NULL_PROGRAM = {
    (True, True): Outcome.EXCUSED,
    (True, False): Outcome.STALE,
    (False, True): Outcome.VACUOUS,
    (False, False): Outcome.NOT_PASSED,
}
