"""Report formats. Each module writes one format from the same `RunReport`; none of them judges anything.

`FORMATS` maps the name used on the command line to a function that returns the whole text of a report.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from conformance.engine.outputs import prove_writable, write
from conformance.errors import UsageError
from conformance.reports import badge, jsonl, junit, markdown, tap, terminal
from conformance.reports import json as json_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conformance.model.results import RunReport

Report = TypeVar("Report")


def _page(report: RunReport) -> str:
    # Imported late: only who wants a page waits for its template engine.
    from conformance.reports.html import render

    return render(report)


FORMATS: Mapping[str, Callable[[RunReport], str]] = {
    "html": _page,
    "json": json_report.render,
    "jsonl": jsonl.render,
    "junit": junit.render,
    "tap": tap.render,
    "markdown": markdown.render,
    "badge": badge.render,
    "terminal": terminal.render,
}


class ReportFile(Generic[Report]):
    """A `FORMAT=PATH` request, proved writable before the run so that no finished run is lost."""

    def __init__(self, request: str, formats: Mapping[str, Callable[[Report], str]]) -> None:
        name, separator, path = request.partition("=")
        if not separator or not path or name not in formats:
            raise UsageError(f"--report {request}: write FORMAT=PATH with FORMAT one of {', '.join(formats)}")
        self._render = formats[name]
        self.path = Path(path)
        prove_writable(self.path, f"--report {request}")

    def write(self, report: Report) -> None:
        """Replace the file by the rendered report. Raises `HarnessError`."""
        write(self.path, self._render(report))
