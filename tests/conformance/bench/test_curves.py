"""The curves of growth measure the bundled proxy, and tell linear from quadratic."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.bench import curves
from conformance.bench.curves import SCENARIOS, GrowthScenario, Point, growth, measure, table
from conformance.bench.curves_chart import svg
from conformance.bench.targets import ProxyTarget
from conformance.model.sut import make_sut

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKS = [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([11.0, 12.0, 14.0, 18.0], 1.0),
        ([1.0, 4.0, 16.0, 64.0], 4.0),
        ([5.0, 5.0, 6.0, 7.0], None),
    ],
)
def test_growth_is_one_for_linear_costs(values: list[float], expected: float | None) -> None:
    assert growth(values, WORKS) == expected


def test_the_table_has_a_line_for_each_measured_scenario() -> None:
    points = [Point(work, work / 10, work * 1e6) for work in WORKS]
    assert table({"tools": points}).splitlines()[2:] == [
        "| tools of one group: listed, and searched | 1, 2, 4, 8 | 0.10, 0.20, 0.40, 0.80 | 1.0 | 1, 2, 4, 8 | 1.0 |"
    ]


def test_the_picture_is_self_contained() -> None:
    text = svg([("a < b", [(work, work / 10, work * 1e6) for work in WORKS])] * 5)
    root = ET.fromstring(text)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 5 * 3
    assert "a < b" in "".join(root.itertext())
    assert "href" not in text


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_measures_the_bundled_proxy(
    scenario: GrowthScenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "_SLEEP", 0.1)
    points = scenario.measure(ProxyTarget(make_sut(())), tmp_path, [1, 2])
    assert [point.work for point in points] == [1, 2]
    assert all(point.seconds > 0 and point.memory > 1e6 for point in points)


def test_amounts_of_a_small_scale_differ() -> None:
    def pretend(target: ProxyTarget, folder: Path, amounts: Sequence[int]) -> list[Point]:
        return [Point(amount, next(seconds), 1.0) for amount in amounts]

    seconds = iter([8.0, 8.0, 8.0, 8.0, 7.0, 9.0, 7.0, 9.0])
    found = measure([GrowthScenario("a", "b", 100, pretend)], rounds=2, scale=0.001)
    assert found == {"a": [Point(1, 7.0, 1.0), Point(2, 8.0, 1.0), Point(3, 7.0, 1.0), Point(4, 8.0, 1.0)]}
