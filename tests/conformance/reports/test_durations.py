"""The table of where the time of a run went."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.model.evidence import Event, Evidence
from conformance.model.registry import Era
from conformance.model.results import Result
from conformance.model.verdicts import Level, Verdict
from conformance.reports.durations import Spent, main


def of_events(*events: tuple[float, str, str], seconds: float) -> Result:
    """A result with these events: the millisecond, the actor and the kind."""
    evidence = Evidence([Event(at, actor, kind, "") for at, actor, kind in events])
    return Result(
        id="CFG-001",
        level=Level.MUST,
        era=Era.ANY,
        verdict=Verdict.PASS,
        title="",
        statement="",
        message="",
        expected=None,
        seen=None,
        source="",
        quote=None,
        duration_s=seconds,
        evidence=evidence,
        rerun="",
        attempts=(),
    )


def test_each_period_counts_once() -> None:
    spent = Spent()
    spent.add(
        of_events(
            (100.0, "proxy-1", "start"),
            (400.0, "upstream a", "start"),
            (450.0, "proxy-1", "out"),
            (500.0, "client", "in"),
            (2500.0, "proxy-1", "out"),
            seconds=3.0,
        )
    )
    assert (spent.programs, spent.mocks) == (1, 1)
    found = (spent.preparing, spent.starting, spent.waiting, spent.working, spent.ending)
    assert found == pytest.approx((0.1, 0.35, 2.0, 0.05, 0.5))
    assert spent.total == pytest.approx(3.0)


def test_check_without_events_only_works() -> None:
    spent = Spent()
    spent.add(of_events(seconds=1.5))
    assert spent.working == spent.total == 1.5


@pytest.mark.parametrize("words", [[], ["a", "b"], ["none.json"]])
def test_wrong_usage_is_reported(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err
