"""The ratios as a chart: one self-contained SVG file for light and dark backgrounds.

Right is better for every figure: it shows how many times as fast, or as small, ours is. The scale is logarithmic. A reader can tell reached
goals without colours.
"""

from __future__ import annotations

import math
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from conformance.bench.tables import ratio_text

if TYPE_CHECKING:
    from conformance.bench.figures import BenchReport, Figure, Measured, Spread

_LEFT, _WIDTH, _RIGHT = 460, 480, 90
_ROW, _TOP = 22, 82

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .heading { font-weight: 600; }
  .quiet, .axis text { fill: #59636e; font-size: 12px; }
  .axis line { stroke: #d1d9e0; }
  .axis .equal { stroke: #59636e; stroke-dasharray: 4 3; }
  .reached { fill: #1a7f37; stroke: #1a7f37; }
  .missed { fill: none; stroke: #cf222e; stroke-width: 2; }
  .free { fill: #0969da; stroke: #0969da; }
  .goal { stroke: #1f2328; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet, .axis text { fill: #9198a1; }
    .axis line { stroke: #3d444d; }
    .axis .equal { stroke: #9198a1; }
    .reached { fill: #3fb950; stroke: #3fb950; }
    .missed { stroke: #ff7b72; }
    .free { fill: #58a6ff; stroke: #58a6ff; }
    .goal { stroke: #e6edf3; }
  }
"""


def svg(report: BenchReport, other: str) -> str:
    """The chart of one comparison."""
    rows = [
        measured
        for measured in report.measured
        if not measured.figure.own and measured.ratio(report.ours, other) is not None
    ]
    scale = _Scale(rows, report.ours, other)
    body: list[str] = []
    y = _TOP
    for section, of_section in groupby(rows, lambda measured: measured.section):
        body.append(f'<text class="heading" x="12" y="{y + 4}">{escape(section)}</text>')
        y += _ROW
        for measured in of_section:
            body += _row(measured, report.ours, other, scale, y)
            y += _ROW
        y += _ROW // 3
    width, height = _LEFT + _WIDTH + _RIGHT, y + 24
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    title = f"{report.ours} {report.versions.get(report.ours, '')} beside {other} {report.versions.get(other, '')}"
    text = (
        f"How many times better than {other}: median, minimum and maximum of {report.rounds} rounds; the vertical stroke is the goal.",
        "Right of the dashed line is better. Full dot: the goal is reached. Hollow: not reached. Blue: there is no goal.",
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="about">{escape(" ".join(text))}</desc>',
            f"<style>{_STYLE}</style>",
            f'<text class="heading" x="12" y="20">{escape(title)}</text>',
            *(
                f'<text class="quiet" x="12" y="{at}">{escape(line)}</text>'
                for line, at in zip(text, (38, 54), strict=True)
            ),
            *scale.axis(y),
            *body,
            "</svg>\n",
        ]
    )


class _Scale:
    """The horizontal scale, from the smallest to the largest necessary power of ten."""

    def __init__(self, rows: list[Measured], ours: str, other: str) -> None:
        factors = [1.0]
        for measured in rows:
            found = measured.ratio(ours, other)
            assert found is not None
            factors += [_factor(measured.figure, value) for value in (found.least, found.most)]
            if _has_goal(measured.figure):
                factors.append(_factor(measured.figure, measured.figure.goal or 1.0))
        self._least = math.floor(math.log10(min(factors)))
        self._most = math.ceil(math.log10(max(factors)))

    def x(self, factor: float) -> float:
        """The coordinate of a factor."""
        share = (math.log10(factor) - self._least) / max(1, self._most - self._least)
        return round(_LEFT + share * _WIDTH, 1)

    def axis(self, bottom: int) -> list[str]:
        """The lines of the powers of ten and their labels."""
        parts = ['<g class="axis">']
        for power in range(self._least, self._most + 1):
            x, kind = self.x(10.0**power), ' class="equal"' if power == 0 else ""
            parts.append(f'<line{kind} x1="{x}" y1="{_TOP - 12}" x2="{x}" y2="{bottom}"/>')
            parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{10.0**power:g}</text>')
        return [*parts, "</g>"]


def _row(measured: Measured, ours: str, other: str, scale: _Scale, y: int) -> list[str]:
    figure, found = measured.figure, measured.ratio(ours, other)
    assert found is not None
    kind = "free"
    if _has_goal(figure):
        kind = "reached" if figure.reaches(found.median) else "missed"
    least, most = sorted(scale.x(_factor(figure, value)) for value in (found.least, found.most))
    dot = scale.x(_factor(figure, found.median))
    parts = [
        f"<g><title>{escape(_tooltip(figure, found))}</title>",
        f'<text x="24" y="{y + 4}">{escape(figure.what)}</text>',
        f'<line class="{kind}" x1="{least}" y1="{y}" x2="{most}" y2="{y}" stroke-width="2"/>',
        f'<circle class="{kind}" cx="{dot}" cy="{y}" r="4.5"/>',
    ]
    if _has_goal(figure):
        x = scale.x(_factor(figure, figure.goal or 1.0))
        parts.append(f'<line class="goal" x1="{x}" y1="{y - 8}" x2="{x}" y2="{y + 8}"/>')
    factor = ratio_text(_factor(figure, found.median))
    return [*parts, f'<text class="quiet" x="{_LEFT + _WIDTH + 12}" y="{y + 4}">x {factor}</text></g>']


def _has_goal(figure: Figure) -> bool:
    return bool(figure.goal) and not figure.own


def _factor(figure: Figure, ratio: float) -> float:
    """How many times better, for a ratio ours / theirs."""
    ratio = max(ratio, 1e-9)
    return ratio if figure.larger_is_better else 1 / ratio


def _tooltip(figure: Figure, found: Spread) -> str:
    goal = f", goal {figure.goal:g}" if _has_goal(figure) else ""
    numbers = [ratio_text(value) for value in (found.median, found.least, found.most)]
    return f"{figure.what}: ratio {numbers[0]} ({numbers[1]} to {numbers[2]}){goal}"
