"""Which scenarios are run, and how their outcomes are shown."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from conformance.errors import UsageError
from conformance.official.__main__ import main, table
from conformance.official.plan import PARTS, plan, reasons, without
from conformance.official.suite import Scenario, ScenarioOutcome

PING = Scenario("server", "ping", "2025-11-25")
LISTS = [Scenario("server", "tools-list", revision) for revision in ("2025-11-25", "2026-07-28")]


def test_what_has_no_reason_is_run() -> None:
    chosen = plan([PING, *LISTS], {})

    assert chosen.run == (PING, *LISTS)
    assert chosen.skipped == {}


@pytest.mark.parametrize(
    ("pattern", "run"),
    [
        ("tools-list", (PING,)),
        ("tools-*", (PING,)),
        ("tools-list@2025-11-25", (PING, LISTS[1])),
    ],
)
def test_a_reason_leaves_out_what_its_pattern_fits(pattern: str, run: tuple[Scenario, ...]) -> None:
    chosen = plan([PING, *LISTS], {pattern: "because"})

    assert chosen.run == run
    assert set(chosen.skipped.values()) == {"because"}


def test_a_reason_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="'pong' fits no scenario"):
        plan([PING], {"pong": "because"})


def test_a_check_is_skipped_of_a_scenario_that_is_run() -> None:
    told = {"ping:slow": "because"}
    outcome = ScenarioOutcome(PING, 1, ("slow: it was", "wrong: it was"), 0.1)

    assert plan([PING], told).run == (PING,)
    assert without(outcome, told).problems == ("wrong: it was",)
    assert without(replace(outcome, scenario=LISTS[0]), told).problems == outcome.problems


def test_only_narrows_what_is_run_and_what_is_told() -> None:
    chosen = plan([PING, *LISTS], {"ping": "because"}, only=["tools-list@2026"])

    assert chosen.run == (LISTS[1],)
    assert chosen.skipped == {}


def test_every_part_has_reasons_and_every_reason_is_a_sentence() -> None:
    told = reasons()

    assert set(told) == set(PARTS)
    assert all(len(reason.split()) > 3 for part in told.values() for reason in part.values())


def test_the_table_has_a_row_for_each_scenario_and_a_column_for_each_revision() -> None:
    outcomes = [ScenarioOutcome(PING, 2, (), 0.1), ScenarioOutcome(LISTS[0], 3, ("tools-list: wrong",), 0.1)]
    chosen = plan([PING, *LISTS], {"tools-list@2026-07-28": "because"})
    console = Console(file=io.StringIO(), width=100)

    console.print(table("server", chosen, outcomes))
    assert isinstance(console.file, io.StringIO)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines()]

    assert [row for row in rows if row] == [["ping", "passed 2", ""], ["tools-list", "failed", "skipped"]]


def test_a_part_that_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["proxies"])

    assert exit.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
