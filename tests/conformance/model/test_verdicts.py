"""Every end of a check has one verdict."""

from __future__ import annotations

import pytest

from conformance.errors import (
    CheckTimeout,
    HarnessError,
    ImplementationCrashed,
    NotApplicable,
    Untestable,
    UsageError,
    Violation,
)
from conformance.model.verdicts import Level, Verdict, decisive, depends_on_time, judge, worst

VIOLATION = Violation("an answer", "silence")


@pytest.mark.parametrize(
    ("level", "verdict"),
    [
        (Level.MUST, Verdict.FAIL),
        (Level.DOC, Verdict.FAIL),
        (Level.SHOULD, Verdict.WARN),
        (Level.MAY, Verdict.WARN),
    ],
)
def test_the_level_decides_the_verdict_of_a_violation(level: Level, verdict: Verdict) -> None:
    assert judge(level, VIOLATION) is verdict


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, Verdict.PASS),
        (Untestable("no"), Verdict.UNTESTABLE),
        (NotApplicable("no"), Verdict.NOT_APPLICABLE),
        (CheckTimeout(3), Verdict.TIMEOUT),
        (TimeoutError(), Verdict.TIMEOUT),
        (ImplementationCrashed("alive", "SIGSEGV"), Verdict.CRASH),
        (HarnessError("no"), Verdict.HARNESS_ERROR),
        (UsageError("no"), Verdict.HARNESS_ERROR),
        (ZeroDivisionError(), Verdict.HARNESS_ERROR),
        (AssertionError(), Verdict.HARNESS_ERROR),
    ],
)
def test_other_verdicts_do_not_depend_on_the_level(
    level: Level, error: Exception | None, verdict: Verdict
) -> None:
    assert judge(level, error) is verdict


def test_of_several_exceptions_the_worst_counts() -> None:
    crash = ImplementationCrashed("alive", "SIGSEGV")
    group = ExceptionGroup("", [VIOLATION, ExceptionGroup("", [Untestable("no"), crash])])
    assert judge(Level.MUST, group) is Verdict.CRASH
    assert decisive(group, Level.MUST) is crash


def test_the_order_is_worst_first() -> None:
    assert [str(verdict) for verdict in sorted(Verdict, key=lambda verdict: verdict.severity)] == [
        "harness-error",
        "crash",
        "timeout",
        "fail",
        "untestable",
        "warn",
        "n/a",
        "pass",
    ]
    assert worst([Verdict.PASS, Verdict.FAIL, Verdict.WARN]) is Verdict.FAIL


def test_red_verdicts() -> None:
    assert {verdict for verdict in Verdict if not verdict.is_red} == {
        Verdict.PASS,
        Verdict.WARN,
        Verdict.NOT_APPLICABLE,
    }


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


LATE = Violation("an answer within 5 s", "none")


@pytest.mark.parametrize(
    ("error", "depends"),
    [
        (CheckTimeout(3), True),
        (TimeoutError(), True),
        (LATE, True),
        (Violation("an answer", "after 5 s: nothing", timed=True), True),
        (Violation("at most 0.5 s", "0.7 s"), True),
        (Untestable("group a is not ready in 15 s: []"), True),
        (caused(Untestable("no answer to initialize: none"), LATE), True),
        (ExceptionGroup("", [VIOLATION, LATE]), True),
        (VIOLATION, False),
        (Violation("3 lines", "after 5 s: two"), False),
        (Untestable("the proxy refused initialize: within 5 s"), False),
        (ImplementationCrashed("an answer within 5 s", "SIGSEGV"), False),
        (ZeroDivisionError(), False),
        (caused(HarnessError("no"), LATE), False),
    ],
)
def test_which_exceptions_depend_on_time(error: Exception, depends: bool) -> None:
    assert depends_on_time(error) is depends
