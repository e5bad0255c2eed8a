"""The verdicts, and how the exception of a check becomes one.

`judge` is total: every exception has exactly one verdict. An unexpected exception counts as a fault of the harness, never of the
implementation. Of several exceptions, which a task group raises together, the worst one counts.
"""

from __future__ import annotations

from enum import StrEnum

from conformance.errors import (
    CheckTimeout,
    ConformanceError,
    HarnessError,
    ImplementationCrashed,
    NotApplicable,
    Untestable,
    Violation,
)


class Level(StrEnum):
    """How binding a requirement is. DOC: the documents of dynamic-mcp promise it, not a protocol."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    DOC = "DOC"


class Verdict(StrEnum):
    """The outcome of one check, the worst first."""

    HARNESS_ERROR = "harness-error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    FAIL = "fail"
    UNTESTABLE = "untestable"
    WARN = "warn"
    NOT_APPLICABLE = "n/a"
    PASS = "pass"

    @property
    def severity(self) -> int:
        """0 for the worst verdict; it grows towards `pass`."""
        return _ORDER.index(self)

    @property
    def is_red(self) -> bool:
        """Whether this verdict of a required requirement fails a run (`Result.is_failure`)."""
        return self.severity <= Verdict.UNTESTABLE.severity


_ORDER = list(Verdict)


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of `verdicts`, or `pass` if there is none."""
    return min(verdicts, key=lambda verdict: verdict.severity, default=Verdict.PASS)


def leaves(exception: BaseException) -> list[BaseException]:
    """The single exceptions in a (nested) exception group, in order."""
    if isinstance(exception, BaseExceptionGroup):
        return [leaf for inner in exception.exceptions for leaf in leaves(inner)]
    return [exception]


def decisive(exception: BaseException, level: Level) -> BaseException:
    """The exception in `exception` that decides the verdict: the first of the worst."""
    return min(leaves(exception), key=lambda leaf: _judge_one(level, leaf).severity)


def judge(level: Level, exception: BaseException | None) -> Verdict:
    """The verdict of a check that ended with `exception`, or None for none, on a requirement of this level."""
    if exception is None:
        return Verdict.PASS
    return worst([_judge_one(level, leaf) for leaf in leaves(exception)])


def depends_on_time(exception: BaseException) -> bool:
    """Whether a slower or faster machine could change a verdict that this exception causes.

    This holds for a deadline, for a `Violation` or `Untestable` that is `timed`, and for one that such an exception has caused.
    """
    for leaf in leaves(exception):
        cause: BaseException | None = leaf
        while isinstance(cause, ConformanceError | TimeoutError) and not isinstance(cause, HarnessError):
            if isinstance(cause, TimeoutError) or getattr(cause, "timed", False):
                return True
            cause = cause.__cause__
    return False


def _judge_one(level: Level, exception: BaseException) -> Verdict:
    match exception:
        case ImplementationCrashed():
            return Verdict.CRASH
        case Violation():
            return Verdict.FAIL if level in (Level.MUST, Level.DOC) else Verdict.WARN
        case Untestable():
            return Verdict.UNTESTABLE
        case NotApplicable():
            return Verdict.NOT_APPLICABLE
        case CheckTimeout() | TimeoutError():
            return Verdict.TIMEOUT
        case _:
            return Verdict.HARNESS_ERROR
