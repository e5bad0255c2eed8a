"""An SVG badge: the number of selected requirements that hold, in a colour for the success of the run.

Requirements that are absent, planned or did not run count as selected, so no declaration improves the number. Grey: the run is
incomplete, or the harness broke. Red: a check failed. Amber: the only failures are known, or not required. Green: all checks passed.
The picture loads nothing, and its title says in words what the colour means.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from conformance.model.verdicts import Verdict
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from conformance.model.results import RunReport

LABEL = "conformance"
LABEL_COLOUR = "#424242"
#: background colours on which white text has a contrast of 4.5 or more (WCAG 2.2, 1.4.3)
GREEN, AMBER, RED, GREY = "#2e7d32", "#8a5a00", "#c62828", "#616161"

_HEIGHT = 20
_PADDING = 6
#: the approximate width of a character of Verdana 11; `textLength` fits other fonts
_WIDE, _NARROW = 7.0, 4.5
_NARROW_CHARACTERS = frozenset(" fil")


def render(report: RunReport) -> str:
    """The picture as a standalone document."""
    passed = report.summary.verdicts[Verdict.PASS]
    selected = len(report.results) + len(report.not_run) + len(report.planned)
    value = f"{passed} of {selected}"
    left, right = _width(LABEL), _width(value)
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": f"{left + right:g}",
            "height": str(_HEIGHT),
            "role": "img",
            "aria-label": f"{LABEL}: {value}",
        },
    )
    colour, meaning = _colour(report)
    ET.SubElement(svg, "title").text = one_line(
        f"{LABEL} of {report.implementation}: {value} requirements hold; {meaning}"
    )
    _part(svg, LABEL, 0, left, LABEL_COLOUR)
    _part(svg, value, left, right, colour)
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _colour(report: RunReport) -> tuple[str, str]:
    summary = report.summary
    if not report.complete or summary.verdicts[Verdict.HARNESS_ERROR]:
        return GREY, "the run is incomplete"
    if summary.failures:
        return RED, f"{summary.failures} failed"
    others = summary.executed - summary.verdicts[Verdict.PASS]
    if others:
        return AMBER, f"{others} do not hold: known, or not required"
    return (GREEN, "nothing failed") if summary.executed else (GREY, "nothing was checked")


def _part(svg: ET.Element, text: str, x: float, width: float, colour: str) -> None:
    box = {"x": f"{x:g}", "width": f"{width:g}", "height": str(_HEIGHT), "fill": colour}
    ET.SubElement(svg, "rect", box)
    place = {
        "x": f"{x + width / 2:g}",
        "y": "14",
        "fill": "#fff",
        "font-family": "Verdana, DejaVu Sans, sans-serif",
        "font-size": "11",
        "text-anchor": "middle",
        "textLength": f"{width - 2 * _PADDING:g}",
    }
    ET.SubElement(svg, "text", place).text = text


def _width(text: str) -> float:
    return 2 * _PADDING + sum(_NARROW if character in _NARROW_CHARACTERS else _WIDE for character in text)
