"""`python -m conformance compare`: the same checks on several implementations, side by side.

Each argument is a profile to run, or the JSON report of an earlier run. The runs follow one another, so that none disturbs the next. The
exit status is the worst of the single runs. Known failures of a profile do not count.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.commands.run_options import (
    BROKEN,
    FAILED,
    PASSED,
    USAGE,
    add_run_options,
    exit_code,
    ids_to_run,
    run_selected,
)
from conformance.engine.execution import RunOptions
from conformance.engine.outputs import prove_writable, write
from conformance.errors import UsageError
from conformance.model.profile import Profile
from conformance.model.registry import Registry
from conformance.model.results import NO_ANSWER
from conformance.model.sut import make_sut
from conformance.reports import comparison
from conformance.reports import json as json_report
from conformance.reports.columns import told_apart, words_again
from conformance.reports.terminal import RunConsole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.checks import Check
    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.results import RunReport
    from conformance.model.sut import Sut

    #: writes the reports; the words are those of `columns.words_again`
    _Render = Callable[[Sequence[RunReport], Sequence[str]], str]


def _page(reports: Sequence[RunReport], again: Sequence[str]) -> str:
    # Imported late, because the template engine takes long to load.
    from conformance.reports.html.render import render_comparison

    return render_comparison(reports)


#: the files of `--out`, beside one JSON report for each run
FILES: dict[str, _Render] = {
    "comparison.json": lambda reports, again: comparison.render_json(reports),
    "comparison.md": comparison.render_markdown,
    "comparison.html": _page,
}


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="python -m conformance compare",
        description="Run the checks on several implementations, one after the other, and show the results side by side.",
        allow_abbrev=False,
    )
    result.add_argument(
        "implementations",
        nargs="+",
        metavar="NAME|PROFILE.toml|REPORT.json",
        help="a profile to run, or the JSON report of an earlier run",
    )
    add_run_options(result)
    result.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help=f"write {', '.join(FILES)} and the JSON reports into this folder",
    )
    result.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the Markdown page into this file"
    )
    return result


def main(
    words: Sequence[str], *, checks: dict[str, Check], open_workbench: WorkbenchFactory | None = None
) -> int:
    """Run the command and return its exit status. Raises `UsageError` and `HarnessError`."""
    options = parser().parse_args(words)
    selected = ids_to_run(options, Registry.load(), checks)
    columns = [_column(name) for name in options.implementations]
    files = _files(options.out, options.markdown)
    console = RunConsole(highlight=False)
    reports: list[RunReport] = []
    for column in columns:
        if isinstance(column, Path):
            reports.append(json_report.read(column).narrowed(selected))
            continue
        console.print(f"\n{column.name} ({len(reports) + 1} of {len(columns)})", style="bold", markup=False)
        run_options = RunOptions(open_workbench=open_workbench)
        report = run_selected(column, selected, options, run_options, checks, console)
        reports.append(report)
        if options.out:
            write(_report_file(options.out, report, reports), json_report.render(report))
        if not report.complete and report.stopped_by != NO_ANSWER:
            break
    again = words_again(reports, options.implementations[: len(reports)])
    shown = told_apart(reports, options.implementations[: len(reports)])
    comparison.print_matrix(console, shown)
    for file, render in files.items():
        write(file, render(shown, again))
    if len(reports) < len(columns):
        print("conformance: interrupted: not all implementations were run", file=sys.stderr)
    codes = [exit_code(report) for report in reports]
    signals = [code for code in codes if code > USAGE and code != BROKEN]
    return next((code for code in (*signals, BROKEN, FAILED, USAGE) if code in codes), PASSED)


def _column(name: str) -> Sut | Path:
    return Path(name) if name.endswith(".json") else make_sut((), Profile.load(name))


def _files(folder: Path | None, page: Path | None) -> dict[Path, _Render]:
    files: dict[Path, _Render] = {}
    if folder is not None:
        asked = f"--out {folder}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{asked}: {error.strerror or error}") from error
        files |= {folder / name: render for name, render in FILES.items()}
        for file in files:
            prove_writable(file, asked)
    if page is not None:
        files[page] = comparison.render_markdown
        prove_writable(page, f"--markdown {page}")
    return files


def _report_file(folder: Path, report: RunReport, reports: Sequence[RunReport]) -> Path:
    """A file for each report, even if two implementations have the same name."""
    same = sum(other.implementation == report.implementation for other in reports)
    return folder / f"{Path(report.implementation).name}{f'-{same}' if same > 1 else ''}.json"
