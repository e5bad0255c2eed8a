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
from conformance.model.verdicts import Level, Verdict, decisive, judge, worst

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
    assert not Verdict.HARNESS_ERROR.is_rerun
    assert Verdict.UNTESTABLE.is_rerun
