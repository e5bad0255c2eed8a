"""Which scenarios run, and how the table shows their outcomes."""

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


def test_a_scenario_without_a_reason_runs() -> None:
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
def test_a_reason_skips_the_scenarios_of_its_pattern(pattern: str, run: tuple[Scenario, ...]) -> None:
    chosen = plan([PING, *LISTS], {pattern: "because"})

    assert chosen.run == run
    assert set(chosen.skipped.values()) == {"because"}


def test_a_pattern_that_fits_nothing_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'pong' fits no scenario"):
        plan([PING], {"pong": "because"})


def test_a_single_check_of_a_scenario_can_be_skipped() -> None:
    skip = {"ping:slow": "because"}
    outcome = ScenarioOutcome(PING, 1, ("slow: it was", "wrong: it was"), 0.1)

    assert plan([PING], skip).run == (PING,)
    assert without(outcome, skip).problems == ("wrong: it was",)
    assert without(replace(outcome, scenario=LISTS[0]), skip).problems == outcome.problems


def test_only_narrows_both_lists() -> None:
    chosen = plan([PING, *LISTS], {"ping": "because"}, only=["tools-list@2026"])

    assert chosen.run == (LISTS[1],)
    assert chosen.skipped == {}


def test_every_part_has_reasons_and_every_reason_is_a_sentence() -> None:
    skip = reasons()

    assert set(skip) == set(PARTS)
    assert all(len(reason.split()) > 3 for part in skip.values() for reason in part.values())


def test_the_table_has_scenarios_as_rows_and_revisions_as_columns() -> None:
    outcomes = [ScenarioOutcome(PING, 2, (), 0.1), ScenarioOutcome(LISTS[0], 3, ("tools-list: wrong",), 0.1)]
    chosen = plan([PING, *LISTS], {"tools-list@2026-07-28": "because"})
    console = Console(file=io.StringIO(), width=100)

    console.print(table("server", chosen, outcomes))
    assert isinstance(console.file, io.StringIO)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines()]

    assert [row for row in rows if row] == [["ping", "passed 2", ""], ["tools-list", "failed", "skipped"]]


def test_an_unknown_part_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["proxies"])

    assert exit.value.code == 2
    assert "invalid choice" in capsys.readouterr().err
