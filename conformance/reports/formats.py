"""The report formats by the names that the command line uses, and the files that `--report` asks for."""

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
    # Imported late, because the template engine takes long to load.
    from conformance.reports.html.render import render

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
    """A `FORMAT=PATH` request. The file is proved writable before the run, so that no finished run is lost."""

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
