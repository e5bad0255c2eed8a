"""What it is worth that a known-bad program met a check: a `Cell`, and together the `Matrix`.

A mutant has to be killed, for its own mistake, by the checks that it declares and by no others. An impostor must not pass any
check, because it does nothing that a check could be content with; where one passes all the same, the reason is declared. Everything
else is a hole. Nothing here runs anything.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from conformance.model.verdicts import Verdict

if TYPE_CHECKING:
    from conformance.model.results import Result
    from conformance.mutation.plan import Meeting

#: how Python, and the bundled proxy, begin to report an exception that nobody thought of
_STACK_TRACE = re.compile(r"Traceback \(most recent call last\)|internal error \w")
_MAX_TRACE = 4000


class Worth(StrEnum):
    """What one meeting says about the check, or about the program."""

    KILLED = "killed"
    HELD = "held"
    NOT_PASSED = "not passed"
    EXCUSED = "excused"
    #: a declared kill did not happen
    SURVIVED = "survived"
    #: red, but not because the requirement was broken
    WRONG_DEATH = "died of something else"
    #: red for its mistake perhaps, but with a stack trace that is not part of it
    BROKEN = "broken"
    UNDECLARED = "undeclared kill"
    VACUOUS = "vacuous pass"
    STALE = "stale excuse"
    #: the harness broke
    UNKNOWN = "unknown"

    @property
    def is_hole(self) -> bool:
        """Whether the matrix is not as it should be here."""
        return self not in (Worth.KILLED, Worth.HELD, Worth.NOT_PASSED, Worth.EXCUSED)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One program and one check."""

    program: str
    kind: str
    id: str
    #: why the program was expected to fail here (an impostor: to pass), or None
    declared: str | None
    worth: Worth
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
        """The message on one line: what was expected, and what was seen."""
        return " ".join(self.message.split())


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All cells of a run, mutants first."""

    against: str
    cells: tuple[Cell, ...]
    duration_s: float
    complete: bool = True

    @property
    def holes(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.worth.is_hole]

    @property
    def counts(self) -> dict[str, int]:
        """How often each worth was found, all of them present."""
        found = Counter(cell.worth for cell in self.cells)
        return {str(worth): found[worth] for worth in Worth}

    def of_kind(self, kind: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == kind]


def stack_trace_in(stderr: str) -> str:
    """What a program wrote to stderr from its first stack trace on, or nothing."""
    found = _STACK_TRACE.search(stderr)
    return stderr[found.start() :][:_MAX_TRACE] if found else ""


def cell(meeting: Meeting, result: Result, stderr: str) -> Cell:
    """What it is worth that this meeting had this result; `stderr` is what the program wrote meanwhile."""
    trace = "" if meeting.crashes else stack_trace_in(stderr)
    return Cell(
        program=meeting.program,
        kind=meeting.kind,
        id=result.id,
        declared=meeting.declared,
        worth=worth_of(meeting, result.verdict, trace),
        verdict=result.verdict,
        message=result.message,
        attempts=tuple(attempt.verdict for attempt in result.attempts),
        duration_s=round(result.duration_s, 3),
        stack_trace=trace,
        rerun=result.rerun,
    )


def worth_of(meeting: Meeting, verdict: Verdict, stack_trace: str = "") -> Worth:
    """What a verdict is worth in this meeting; `stack_trace` is one that nobody wanted."""
    if verdict in (Verdict.HARNESS_ERROR, Verdict.NOT_APPLICABLE):
        return Worth.UNKNOWN
    declared, passed = meeting.declared is not None, verdict is Verdict.PASS
    if meeting.kind == "impostor":
        return _IMPOSTOR[declared, passed]
    if passed or not declared:
        return _MUTANT[declared, passed]
    if stack_trace:
        return Worth.BROKEN
    # Its own mistake must be seen; where it is only in the way of something else, that may not even begin.
    is_seen = verdict in (Verdict.FAIL, Verdict.WARN) or (verdict is Verdict.CRASH and meeting.crashes)
    return Worth.KILLED if is_seen or not meeting.own else Worth.WRONG_DEATH


#: by whether the outcome was declared, and whether the check passed
_MUTANT = {
    (True, True): Worth.SURVIVED,
    (False, True): Worth.HELD,
    (False, False): Worth.UNDECLARED,
}
_IMPOSTOR = {
    (True, True): Worth.EXCUSED,
    (True, False): Worth.STALE,
    (False, True): Worth.VACUOUS,
    (False, False): Worth.NOT_PASSED,
}
