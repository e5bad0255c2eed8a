"""The guard accepts the documented ratio, measures a slow figure again, and fails if it stays slow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.bench import guard, run
from conformance.bench.targets import Target
from conformance.bench.workloads import BenchWorkload
from conformance.errors import UsageError
from tests.conformance.bench.test_bench import FREE, QUICK, fake, measured, report_of, saved


def guarded(*ratios: float) -> tuple[bool, list[str]]:
    """The verdict and lines of the guard, if the documented ratio is 1 and the attempts measure these."""
    told: list[str] = []
    left = list(ratios)

    def values(target: Target) -> dict[str, float]:
        return {"quick": left[0] if target is ours else 1.0, "many": 1.0}

    def say(line: str) -> None:
        told.append(line)
        if line.startswith("measuring again"):
            left.pop(0)

    ours, theirs = fake(), fake("theirs")
    workload = BenchWorkload("fixed", "s", (QUICK,), lambda target, folder: values(target))
    documented = report_of(measured(QUICK, 1, 1))
    return guard.guard(documented, ours, theirs, say, [workload]), told


def test_the_guard_accepts_the_documented_ratio() -> None:
    fine, told = guarded(1.0)
    assert fine
    assert told == ["quick: 1.00, at most 2.50: fine"]


def test_the_guard_accepts_a_better_or_slightly_worse_ratio() -> None:
    assert guarded(0.01)[0]
    assert guarded(2.4)[0]


def test_the_guard_measures_a_slow_figure_again() -> None:
    fine, told = guarded(9.0, 1.0)
    assert fine
    assert told[:2] == [
        "quick: 9.00, at most 2.50: slow",
        "measuring again, because it may be noise: fixed",
    ]


def test_the_guard_fails_after_three_slow_attempts() -> None:
    fine, told = guarded(9.0, 9.0, 9.0)
    assert not fine
    assert told[-1] == "slow in 3 attempts: fixed"


def test_the_guard_needs_a_guarded_figure() -> None:
    with pytest.raises(UsageError, match="no guarded figure for theirs"):
        guard.guard(report_of(measured(FREE, 1, 1)), fake(), fake("theirs"), print)


def test_the_guard_is_skipped_without_the_other_implementation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.main(["--guard", saved(tmp_path)]) == run.PASSED
    assert "skipped, because there is nothing to compare with" in capsys.readouterr().out


def test_the_guard_is_skipped_if_the_other_implementation_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "broken.toml"
    profile.write_text(f'name = "broken"\ncommand = ["{sys.executable}", "-c", "", "{{config}}"]\n')
    assert run.main(["--guard", saved(tmp_path), "--against", str(profile)]) == run.PASSED
    assert "skipped, because there is nothing to compare with" in capsys.readouterr().out
