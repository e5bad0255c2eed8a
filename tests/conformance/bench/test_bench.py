"""The benchmarks: ratios of values, tables and charts, and the verdict of the guard."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from conformance.bench import chart, run, tables
from conformance.bench.calls import percentile_99
from conformance.bench.client import LineClient
from conformance.bench.figures import BenchReport, Figure, Machine, Measured, Spread
from conformance.bench.measure import measure
from conformance.bench.servers import http, stdio
from conformance.bench.targets import DirectTarget, ProxyTarget, RelayTarget, Target
from conformance.bench.workloads import WORKLOADS, BenchWorkload
from conformance.errors import HarnessError
from conformance.model.sut import make_sut

QUICK = Figure("quick", "how long it takes", goal=0.5, margin=2.5)
MANY = Figure("many", "how many it does", larger_is_better=True, goal=2)
OWN = Figure("own", "a figure of ours alone", goal=3, own=True)
FREE = Figure("free", "a figure without a goal")


def report_of(*measured: Measured) -> BenchReport:
    machine = Machine("Linux", "3.11", 2, 0.5, 0.6)
    return BenchReport(machine, 3, "ours", ["theirs"], {"ours": "1", "theirs": "2"}, list(measured))


def measured(
    figure: Figure, ours: float | None, theirs: float | None, direct: float | None = None
) -> Measured:
    values: dict[str, list[float | None]] = {"ours": [ours], "theirs": [theirs]}
    return Measured("section", figure, values if direct is None else {**values, "direct": [direct]})


ALL = report_of(
    measured(QUICK, 1.0, 4.0, 0.5),
    measured(MANY, 3.0, 2.0),
    measured(OWN, 2.0, 0.0),
    measured(FREE, None, 1.0),
)


# Figures


def test_a_ratio_is_within_each_round() -> None:
    found = Measured("s", QUICK, {"ours": [1, 8, 3], "theirs": [2, 2, 2]}).ratio("ours", "theirs")
    assert found == Spread(1.5, 0.5, 4.0)


def test_a_round_without_a_value_does_not_count() -> None:
    one = Measured("s", QUICK, {"ours": [1, None, 3], "theirs": [2, 2, 0]})
    assert one.ratio("ours", "theirs") == Spread(0.5, 0.5, 0.5)
    assert one.ratio("ours", "no-such") is None


@pytest.mark.parametrize(
    ("one", "reached"),
    [
        (measured(QUICK, 1, 2), True),
        (measured(QUICK, 1.1, 2), False),
        (measured(MANY, 4, 2), True),
        (measured(MANY, 3.9, 2), False),
        (measured(OWN, 3, 1), True),
        (measured(OWN, 3.1, 100), False),
        (measured(FREE, 1, 1), None),
        (measured(QUICK, None, 1), None),
    ],
)
def test_a_goal_is_reached_or_not(one: Measured, reached: bool | None) -> None:
    assert one.reached("ours", "theirs") is reached


def test_percentiles() -> None:
    assert percentile_99([5.0]) == 5.0
    assert percentile_99([float(n) for n in range(1000)]) == 990.0


# Workloads


def fake(name: str = "ours") -> ProxyTarget:
    """The fake proxy as a target."""
    sut = make_sut([sys.executable, "-m", "tests.conformance.fake_proxy", "{config}"])
    return ProxyTarget(replace(sut, name=name))


def test_the_names_of_workloads_and_figures_are_unique() -> None:
    figures = [figure.name for workload in WORKLOADS for figure in workload.figures]
    assert len(set(figures)) == len(figures)
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


@pytest.mark.slow
def test_workloads_measure_a_proxy_and_its_limits() -> None:
    names = {"start", "stdio-64", "stdio-sequential", "result-64k", "http-64"}
    chosen = [workload for workload in WORKLOADS if workload.name in names]
    report = measure(chosen, fake(), [], rounds=2)
    assert report.problems == []
    assert report.versions == {"ours": "1"}
    for one in report.measured:
        limits = {"start": set(), "calls over HTTP": {"direct"}}.get(one.section, {"direct", "relay"})
        assert one.values.keys() == {report.ours, *limits}
        used = one.figure.name.endswith("-cpu")
        assert all(len(values) == 2 for values in one.values.values())
        assert all(all(values) for name, values in one.values.items() if not used or name == report.ours)


@pytest.mark.parametrize("limit", [DirectTarget(), RelayTarget()], ids=lambda limit: limit.name)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("echo", {"text": "hello"}), ("sleep", {"seconds": 0.01}), ("blob", {"bytes": 3 << 20})],
)
def test_both_limits_reach_a_child_process(
    tmp_path: Path, limit: DirectTarget | RelayTarget, tool: str, arguments: Mapping[str, object]
) -> None:
    with limit.open(tmp_path, {"g": stdio()}) as caller:
        assert caller.burst("g", tool, arguments, 5) > 0


def test_sleeping_calls_do_not_delay_each_other(tmp_path: Path) -> None:
    with DirectTarget().open(tmp_path, {"g": stdio()}) as caller:
        assert caller.burst("g", "sleep", {"seconds": 0.2}, 50) < 5


@pytest.mark.slow
def test_direct_calls_reach_a_server_behind_a_url(tmp_path: Path) -> None:
    with http() as entry, DirectTarget().open(tmp_path, {"g": entry}) as caller:
        assert caller.burst("g", "echo", {"text": "hello"}, 5) > 0


def test_a_wrong_answer_is_a_harness_error(tmp_path: Path) -> None:
    with (
        DirectTarget().open(tmp_path, {"g": stdio()}) as caller,
        pytest.raises(HarnessError, match="echo failed"),
    ):
        caller.burst("g", "echo", {"text": "bye"}, 1)


def test_an_exit_is_a_harness_error() -> None:
    with pytest.raises(HarnessError, match="exited during"), LineClient([sys.executable, "-c", ""], {}):
        pass


# Rounds


def fixed(values: Callable[[Target], Mapping[str, float]]) -> list[BenchWorkload]:
    return [
        BenchWorkload(
            "fixed", "section", (QUICK, MANY), lambda target, folder: values(target), limits=(DirectTarget(),)
        )
    ]


def test_each_round_measures_everything_once() -> None:
    seen: list[str] = []

    def values(target: Target) -> dict[str, float]:
        seen.append(target.name)
        return {"quick": len(seen), "many": 1.0}

    ours = fake()
    report = measure(fixed(values), ours, [], rounds=3)
    assert [sorted(seen[n : n + 2]) for n in (0, 2, 4)] == [sorted([ours.name, "direct"])] * 3
    quick, many = report.measured
    assert {*quick.values[ours.name], *quick.values["direct"]} == {1, 2, 3, 4, 5, 6}
    assert many.values == {ours.name: [1.0] * 3, "direct": [1.0] * 3}
    assert report.machine.cpus > 0


def test_a_failure_is_a_problem_and_does_not_stop_the_others() -> None:
    def values(target: Target) -> dict[str, float]:
        if target.name == "direct":
            raise HarnessError("no answer")
        return {"quick": 1.0, "many": 1.0}

    report = measure(fixed(values), fake(), [], rounds=1)
    assert report.problems == ["fixed, direct: no answer"]
    assert report.measured[0].values["direct"] == [None]
    assert report.measured[0].values[report.ours] == [1.0]


# Tables and chart


def test_the_tables_show_ratios_and_reached_goals() -> None:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(*tables.terminal(ALL))
    text = captured.get()
    rows = {cells[0]: cells[1:] for line in text.splitlines() if (cells := re.findall(r"[^│]*[^│ ]", line))}
    assert [cell.strip() for cell in rows[" quick"]] == [
        "0.25",
        "0.25 to 0.25",
        "<= 0.5",
        "reached",
        "2.00",
        "8.00",
    ]
    assert [cell.strip() for cell in rows[" many"]] == ["1.50", "1.50 to 1.50", ">= 2", "not reached"]
    assert [cell.strip() for cell in rows[" own"]] == ["2.00", "2.00 to 2.00", "<= 3 (ours)", "reached"]
    assert "load 0.5 before and 0.6 after" in text


def test_the_tables_replace_the_text_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    tables.write_into(page, ALL)
    text = page.read_text()
    assert text.startswith("before\n<!-- bench: begin -->\n| figure |")
    assert text.endswith("<!-- bench: end -->\nafter\n")
    assert "| `quick` how long it takes | 0.25 | 0.25 to 0.25 | <= 0.5 | reached | 2.00 | 8.00 |" in text
    assert "old" not in text
    tables.write_into(page, ALL)
    assert page.read_text() == text


def test_the_chart_is_self_contained_and_has_a_description() -> None:
    text = chart.svg(ALL, "theirs")
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title about"
    assert [
        root.find(f"{space}{tag}[@id='{id}']") is not None
        for tag, id in (("title", "title"), ("desc", "about"))
    ]
    # A dot for each measured ratio, and the goals.
    assert len(root.findall(f".//{space}circle")) == 2
    assert len(root.findall(f".//{space}line[@class='goal']")) == 2
    assert [dot.get("class") for dot in root.iter(f"{space}circle")] == ["reached", "missed"]
    assert "prefers-color-scheme: dark" in text
    assert not re.findall(r"(?:href|src|url)\s*[=(]", text)


def test_right_is_better_in_the_chart() -> None:
    better = chart.svg(report_of(measured(QUICK, 1, 4), measured(MANY, 4, 1)), "theirs")
    places = re.findall(r'<circle class="\w+" cx="([\d.]+)"', better)
    assert places[0] == places[1]
    equal = re.search(r'class="equal" x1="([\d.]+)"', better)
    assert equal is not None
    assert float(places[0]) > float(equal[1])


# The command line


def saved(tmp_path: Path) -> str:
    path = tmp_path / "report.json"
    path.write_bytes(msgspec.json.encode(ALL))
    return str(path)


def test_from_shows_an_earlier_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, again = tmp_path / "chart.svg", tmp_path / "again.json"
    assert run.main(["--from", saved(tmp_path), "--svg", str(svg), "--json", str(again)]) == run.PASSED
    assert "ours / theirs" in capsys.readouterr().out
    assert svg.read_text() == chart.svg(ALL, "theirs")
    assert msgspec.json.decode(again.read_bytes(), type=BenchReport) == ALL


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "there is no workload 'nonsense'"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--against", "no-such"], "there is no profile 'no-such'"),
        (["--from", "nothing.json"], "nothing.json does not exist"),
        (["--guard", "nothing.json"], "nothing.json does not exist"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    assert run.main([*words, *([] if "--against" in words else ["--against", "reference"])]) == run.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "file"), [("--json", "no/a.json"), ("--svg", "no/a.svg"), ("--markdown", "page.md")]
)
def test_an_unwritable_file_is_a_usage_error_before_the_measurement(
    option: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text("nothing\n")
    measured: list[object] = []
    monkeypatch.setattr(run, "measure", lambda *what: measured.append(what))
    assert run.main([option, str(tmp_path / file), "--against", "reference"]) == run.USAGE
    assert measured == []


def test_a_page_without_marks_stays_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert run.main(["--from", saved(tmp_path), "--markdown", str(page)]) == run.USAGE
    assert "has no lines <!-- bench: begin -->" in capsys.readouterr().err
    assert page.read_text() == "nothing\n"
