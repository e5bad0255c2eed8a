"""Several reports side by side: a table for the terminal, JSON for programs, and a Markdown page.

The rows are the requirements of all reports. Where a report has no result for one, the cell says whether no check exists or the check did
not run. This module only shows the verdicts of the reports.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table
from rich.text import Text

from conformance.model.profile import IMPLEMENTATIONS
from conformance.model.registry import Era, Reach, Registry
from conformance.model.results import Summary
from conformance.model.verdicts import Level, Verdict
from conformance.reports.columns import LONGEST
from conformance.reports.json import Implementation, implementation_of
from conformance.reports.markdown import bounded, inline, is_shown, row
from conformance.reports.terminal import summary_line, verdict_text
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from conformance.model.results import Result, RunReport


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One implementation and the summary of its run."""

    implementation: Implementation
    started: str
    summary: Summary


class ComparisonCell(msgspec.Struct, frozen=True):
    """The verdict of one implementation on one requirement; without a verdict, `note` says why."""

    verdict: Verdict | None
    known: str | None = None
    note: str | None = None


class ComparisonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement, with its cells in the order of the columns."""

    id: str
    level: Level | None
    era: Era | None
    reach: Reach | None
    title: str
    cells: tuple[ComparisonCell, ...]

    @property
    def family(self) -> str:
        return self.id.partition("-")[0]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `comparison.json`."""

    specification: str
    columns: tuple[Column, ...]
    rows: tuple[ComparisonRow, ...]


def compared(reports: Sequence[RunReport]) -> Comparison:
    """The comparison of these reports."""
    ids = {
        id_
        for report in reports
        for id_ in (*(r.id for r in report.results), *report.planned, *report.not_run)
    }
    results = [{result.id: result for result in report.results} for report in reports]
    columns = (
        Column(implementation=implementation_of(report), started=report.started, summary=report.summary)
        for report in reports
    )
    return Comparison(
        specification=", ".join(dict.fromkeys(report.specification for report in reports)),
        columns=tuple(columns),
        rows=tuple(_row(id_, reports, [found.get(id_) for found in results]) for id_ in sorted(ids)),
    )


def _row(id_: str, reports: Sequence[RunReport], results: Sequence[Result | None]) -> ComparisonRow:
    cells = tuple(_cell(id_, report, result) for report, result in zip(reports, results, strict=True))
    # The registry has the current wording, unless it no longer has the requirement of an older report.
    known = Registry.load().get(id_) or next((result for result in results if result is not None), None)
    if known is None:
        return ComparisonRow(id=id_, level=None, era=None, reach=None, title="", cells=cells)
    return ComparisonRow(
        id=id_, level=known.level, era=known.era, reach=known.reach, title=known.title, cells=cells
    )


def _cell(id_: str, report: RunReport, result: Result | None) -> ComparisonCell:
    if result is not None:
        if result.unrepeated:
            return ComparisonCell(None, note=result.verdict_words)
        return ComparisonCell(result.verdict, result.known)
    return ComparisonCell(None, note="planned" if id_ in report.planned else "not run")


def render_json(reports: Sequence[RunReport]) -> str:
    """Indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(compared(reports)), indent=2).decode() + "\n"


def print_matrix(console: Console, reports: Sequence[RunReport]) -> None:
    """Print the requirements that do not hold everywhere, and the counts of each implementation."""
    matrix = compared(reports)
    table = Table(box=None)
    for name in ("id", "level", "requirement", *map(_name, matrix.columns)):
        table.add_column(Text(name), no_wrap=name != "requirement", overflow="fold")
    judged = [one for one in matrix.rows if any(cell.verdict is not None for cell in one.cells)]
    shown = [one for one in judged if any(cell.verdict is not Verdict.PASS for cell in one.cells)]
    for one in shown:
        cells = (
            Text(cell.note or "", style="dim")
            if cell.verdict is None
            else verdict_text(cell.verdict, cell.known)
            for cell in one.cells
        )
        table.add_row(one.id, str(one.level or ""), Text(one_line(one.title)), *cells)
    console.print()
    if shown:
        console.print(table)
    console.print(f"{len(judged) - len(shown)} of {len(judged)} requirements hold everywhere")
    for column in matrix.columns:
        console.print(Text.assemble(f"{_name(column)}: ", summary_line(column.summary)), soft_wrap=True)


def render_markdown(reports: Sequence[RunReport], again: Sequence[str] = ()) -> str:
    """The page, with the size limit of a CI job summary. `again`: the words of `compare` that make these columns; without it, the names."""
    return bounded(_page(compared(reports), reports, again))


def _page(matrix: Comparison, reports: Sequence[RunReport], again: Sequence[str]) -> Iterator[str]:
    yield "# Implementations\n\n"
    yield "What the checks found, implementation by implementation. `python -m conformance compare` wrote this page.\n\n"
    header = (
        "implementation",
        "version",
        "run began",
        "pass",
        "fail",
        "warn",
        "other",
        "declared absent",
        "no check yet",
    )
    yield row(header) + row(["---"] * len(header))
    for column in matrix.columns:
        yield row(_counts(column))
    yield (
        f"\nThe requirements are those of version {inline(matrix.specification)}, as they were when each run began. "
        "The tables lack requirements that no run knew.\n\n"
    )
    yield from _explanation(matrix, again)
    yield "\n## Requirements\n"
    for family, rows in groupby(matrix.rows, key=lambda one: one.family):
        title = Registry.load().families.get(family, "")
        yield f"\n### {inline(family)}{f': {inline(title)}' if title else ''}\n\n"
        names = [inline(_name(column)) for column in matrix.columns]
        yield row(("id", "level", "reach", "requirement", *names)) + row(["---"] * (4 + len(names)))
        for one in rows:
            known = (inline(one.id), str(one.level or ""), str(one.reach or ""), inline(one.title))
            yield row((*known, *map(_word, one.cells)))
    for column, report in zip(matrix.columns, reports, strict=True):
        yield from _findings(column, report)


def _counts(column: Column) -> tuple[str, ...]:
    implementation, verdicts = column.implementation, column.summary.verdicts
    named = (Verdict.PASS, Verdict.FAIL, Verdict.WARN)
    absent = verdicts[Verdict.NOT_APPLICABLE]
    other = sum(verdicts.values()) - sum(verdicts[name] for name in named) - absent
    numbers = (*(verdicts[name] for name in named), other, absent, column.summary.planned)
    homepage = implementation.homepage
    name = inline(implementation.name)
    linked = f"[{name}](<{inline(homepage, None)}>)" if homepage.startswith("https://") else name
    return (linked, inline(implementation.shown_version), inline(column.started), *map(str, numbers))


def _explanation(matrix: Comparison, again: Sequence[str]) -> Iterator[str]:
    yield (
        "A MUST that does not hold is `fail`, a SHOULD or MAY is `warn`. A DOC is `fail`, and for a program that is no dynamic-mcp proxy "
        "it is `warn`. `untestable`: what the check needs first did not work. "
        "`n/a`: the implementation does not have the feature. `not run`: the run left the check out; those of other proxies leave out what "
        "is about dynamic-mcp alone. In bold: not known before.\n\n"
    )
    yield "To make the page again:\n\n```sh\n"
    for install in dict.fromkeys(column.implementation.install for column in matrix.columns):
        if install:
            yield f"{_plain(install)}\n"
    names = " ".join(map(_plain, again or (column.implementation.name for column in matrix.columns)))
    yield f"python -m conformance compare --markdown docs/implementations.md {names}\n```\n"


def _findings(column: Column, report: RunReport) -> Iterator[str]:
    found = [result for result in report.results if is_shown(result)]
    absent = [result for result in report.results if result.verdict is Verdict.NOT_APPLICABLE]
    if found or absent:
        yield f"\n## Findings: {inline(f'{_name(column)} {column.implementation.shown_version}')}\n"
    if found:
        yield f"\nOne of them again:\n\n```text\n{_plain(_rerun(column, found[0]))}\n```\n\n"
        yield row(("id", "verdict", "observed")) + row(["---"] * 3)
        for result in found:
            observed = result.known or result.explanation[-1][1]
            yield row((inline(result.id), _word(_cell(result.id, report, result)), inline(observed)))
    if absent:
        yield "\nDeclared absent:\n\n"
        for message, results in groupby(absent, key=lambda result: result.message):
            ids = ", ".join(result.id for result in results)
            yield f"- {inline(ids, None)}: {inline(message.removeprefix('declared absent: '), None)}\n"


def _rerun(column: Column, result: Result) -> str:
    """The command that repeats a check. For a bundled profile it names no path of the machine that wrote the report."""
    name = column.implementation.name
    if (IMPLEMENTATIONS / f"{name}.toml").is_file():
        return f"python -m conformance run --profile {name} --only {result.id}"
    return result.rerun


def _word(cell: ComparisonCell) -> str:
    if cell.verdict is None:
        return cell.note or ""
    is_expected = cell.known is not None or cell.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE)
    return str(cell.verdict) if is_expected else f"**{cell.verdict}**"


def _name(column: Column) -> str:
    return one_line(column.implementation.name, LONGEST)


def _plain(text: str) -> str:
    """A line that cannot end its code block."""
    return one_line(text).replace("```", "'''")
