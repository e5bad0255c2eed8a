"""The curves of growth as one self-contained SVG file for light and dark backgrounds."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    #: work, processor seconds, bytes
    Costs = tuple[int, float, float]

_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 400, 150, 70, 24, 84
_COLUMNS = 2
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .heading { font-size: 13px; font-weight: 600; }
  polyline { fill: none; stroke-width: 2; }
  .time { stroke: #0969da; } .memory { stroke: #1a7f37; stroke-dasharray: 6 3; }
  .linear { stroke: #59636e; stroke-dasharray: 2 3; } .frame { fill: none; stroke: #d1d9e0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .time { stroke: #58a6ff; } .memory { stroke: #3fb950; }
    .linear { stroke: #9198a1; } .frame { stroke: #3d444d; }
  }
"""
_TITLE = "Processor time and memory of the proxy by the amount of work"
_ABOUT = "Solid: processor time. Dashed: memory. Dotted: linear growth from nothing to the largest value. Each axis begins at zero."


def svg(panels: Sequence[tuple[str, Sequence[Costs]]]) -> str:
    """The picture; each panel has the name of its work, and its points from the smallest to the largest."""
    rows = -(-len(panels) // _COLUMNS)
    width, height = _LEFT + _COLUMNS * (_WIDTH + _LEFT), _TOP + rows * (_HEIGHT + _GAP)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">',
        f'<title id="title">{escape(_TITLE)}</title>',
        f'<desc id="about">{escape(_ABOUT)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<text class="heading" x="{_LEFT}" y="22">{escape(_TITLE)}</text>',
        f'<text x="{_LEFT}" y="42">{escape(_ABOUT)}</text>',
    ]
    for number, (what, points) in enumerate(panels):
        x = _LEFT + number % _COLUMNS * (_WIDTH + _LEFT)
        y = _TOP + number // _COLUMNS * (_HEIGHT + _GAP)
        parts += _panel(what, points, x, y)
    return "\n".join([*parts, "</svg>\n"])


def _panel(what: str, points: Sequence[Costs], x: int, y: int) -> list[str]:
    work, seconds, memory = (max(costs) for costs in zip(*points, strict=True))

    def line(kind: str, values: Sequence[tuple[float, float]]) -> str:
        places = " ".join(f"{x + _WIDTH * across:.1f},{y + _HEIGHT * (1 - up):.1f}" for across, up in values)
        return f'<polyline class="{kind}" points="{places}"/>'

    return [
        f'<text class="heading" x="{x}" y="{y - 8}">{escape(what)}</text>',
        f'<rect class="frame" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}"/>',
        line("linear", [(0, 0), (1, 1)]),
        line("time", [(point[0] / work, point[1] / seconds) for point in points]),
        line("memory", [(point[0] / work, point[2] / memory) for point in points]),
        f'<text x="{x}" y="{y + _HEIGHT + 16}">up to {work:,}: {seconds:.2f} s, {memory / 1e6:.0f} MB</text>',
    ]
