"""The report for a person: live progress, then a table, a block for every red check, and a summary.

Checks that failed for the same cause share a block. A block shows the beginning of a long text and names the report that has all of it.

On a terminal the progress is one live line; elsewhere every finished check is one plain line, so that a log stays readable. Text of the
implementation is never markup, and its control characters do not reach the terminal.
"""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from conformance.engine.execution import AttemptFinished, AttemptStarted, RunEvent
from conformance.model.results import NO_ANSWER
from conformance.model.verdicts import Verdict
from conformance.reports.text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from conformance.model.results import Result, RunReport, Summary

_STYLES = {
    Verdict.HARNESS_ERROR: "bold magenta",
    Verdict.CRASH: "bold red",
    Verdict.TIMEOUT: "red",
    Verdict.FAIL: "red",
    Verdict.UNTESTABLE: "red",
    Verdict.WARN: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.PASS: "green",
}
#: characters of a text in a block
_LONGEST = 2000
#: results with the same cause that share a block; two blocks are still readable
_SAME_CAUSE = 3
#: ids of checks that did not run
_MOST_IDS = 20
#: what differs between two checks with the same cause: numbers, and names of sandboxes
_VARIABLE = re.compile(r"conformance-[\w-]+|\d+(?:\.\d+)?")


class RunConsole(Console):
    """A console for a run: the run goes on, and writes its reports, when the reader of its output has gone."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on. The base class would end the program."""
        with suppress(SystemExit):
            super().on_broken_pipe()


class LiveProgress:
    """Shows the progress of a run; a context manager that is also the runner's `on_event`."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._running: list[str] = []
        self._progress: Progress | None = None
        if console.is_terminal:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
            )
            self._progress = Progress(*columns, console=console, transient=True)
            self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> LiveProgress:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, event: RunEvent) -> None:
        match event:
            case AttemptStarted(check=check):
                self._running.append(check.id)
            case AttemptFinished(check=check, result=result, final=final):
                self._running.remove(check.id)
                if self._progress is None:
                    self._console.print(_progress_line(result, final=final), soft_wrap=True)
                elif final:
                    self._progress.advance(self._task)
        if self._progress is not None:
            self._progress.update(self._task, description=" ".join(self._running))


def print_report(console: Console, report: RunReport) -> None:
    """The table, the blocks and the summary line."""
    console.print(_table(report))
    shown = [
        r for r in report.results if r.is_failure(strict=True) or r.verdict is Verdict.WARN or r.unrepeated
    ]
    for results in by_cause(shown):
        console.print()
        _print_block(console, results)
    console.print()
    for line in reach_lines(report.summary):
        console.print(line, soft_wrap=True)
    console.print(summary_line(report.summary), soft_wrap=True)
    unrepeated = [result.id for result in report.results if result.unrepeated]
    for what, found in (("not run", report.not_run), ("not repeated", unrepeated)):
        if found:
            more = len(found) - _MOST_IDS
            ids = f"{' '.join(found[:_MOST_IDS])}{f' and {more} more' if more > 0 else ''}"
            line = f"{what} ({report.why_incomplete}): {ids}"
            console.print(Text(line, style="bold red"), soft_wrap=True)
    if report.stopped_by == NO_ANSWER:
        console.print(_STOPPED_EARLY, soft_wrap=True)


_STOPPED_EARLY = Text(
    "Try the command with `python -m conformance smoke` in place of `run`. For a slow start, set `starts_within` in a profile. With"
    " --no-early-stop, the run goes on."
)


def by_cause(results: Iterable[Result]) -> list[list[Result]]:
    """The results, in their order, and together where at least three of them have the same cause."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        found.setdefault(_cause(result), []).append(result)
    groups = found.values()
    parts = [[g] if len(g) >= _SAME_CAUSE else [[result] for result in g] for g in groups]
    return sorted((part for split in parts for part in split), key=lambda part: part[0].id)


def _cause(result: Result) -> tuple[str, ...]:
    last = ""
    if "exit status" in result.message or "killed by" in result.message:
        # Only stderr tells why a program has ended.
        last = "".join(result.evidence.stderr_tail.rstrip().splitlines()[-1:])
    same = (_VARIABLE.sub("0", text) for text in (result.message, last))
    return (result.verdict_words, *same)


def render(report: RunReport) -> str:
    """The report as plain text of a fixed width, for a file."""
    console = Console(file=io.StringIO(), width=120, force_terminal=False, color_system=None)
    print_report(console, report)
    assert isinstance(console.file, io.StringIO)
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())


def summary_line(summary: Summary) -> Text:
    """The counts in one line: `pass`, the planned requirements, and every other count above zero."""
    extra = (
        ("known", summary.known),
        ("stale", summary.stale),
        ("retried", summary.rerun),
        ("not repeated", summary.unrepeated),
    )
    included = ", ".join(f"{count} {name}" for name, count in extra if count)
    text = f"{_counts(summary.verdicts)}{f' (including {included})' if included else ''}, {summary.planned} planned"
    end = "" if summary.complete else ", INCOMPLETE"
    style = "bold red" if summary.failures or not summary.complete else "bold green"
    return Text(f"{text} in {summary.duration_s:.1f} s{end}", style=style)


def reach_lines(summary: Summary) -> list[str]:
    """One line for each reach with its counts; none if the results have a single reach."""
    if len(summary.reach) < 2:
        return []
    return [f"{reach}: {_counts(verdicts)}" for reach, verdicts in summary.reach.items()]


def _counts(verdicts: Mapping[str, int]) -> str:
    """`pass` and every other count above zero, the best verdict first."""
    names = ((name, verdicts.get(name, 0)) for name in map(str, reversed(Verdict)))
    return ", ".join(f"{count} {name}" for name, count in names if count or name == Verdict.PASS)


def plain(text: str) -> Text:
    """Text of an implementation, without markup and control characters."""
    return Text(lines(text))


def _progress_line(result: Result, *, final: bool) -> Text:
    note = "" if final else " (will be retried alone)"
    line = Text.assemble(
        f"{result.id:<10}", _verdict(result), f" {result.title} ({result.duration_s:.1f} s){note}"
    )
    line.no_wrap = True
    return line


def _table(report: RunReport) -> Table:
    whole = f"{report.implementation}: {' '.join(report.command)} (requirements {report.specification})"
    title = Text(one_line(whole))
    table = Table(title=title, title_justify="left", box=None)
    for name in ("id", "level", "verdict", "title"):
        table.add_column(name, no_wrap=name != "title", overflow="fold")
    table.add_column("s", justify="right", no_wrap=True)
    for result in report.results:
        duration = f"{result.duration_s:.1f}"
        table.add_row(result.id, result.level_text, _verdict(result), Text(one_line(result.title)), duration)
    return table


def verdict_text(verdict: Verdict, known: str | None = None, *, stale: bool = False) -> Text:
    """The verdict in its colour, with `known` or `stale` where the baseline says so."""
    if known is not None:
        return Text(f"known {verdict}", style="dim")
    return Text(f"stale {verdict}", style="bold red") if stale else Text(str(verdict), style=_STYLES[verdict])


def _verdict(result: Result) -> Text:
    if result.unrepeated:
        return Text(result.verdict_words, style="yellow")
    return verdict_text(result.verdict, result.known, stale=result.stale)


def _print_block(console: Console, results: Sequence[Result]) -> None:
    """One result, or the first of several with the same cause and the ids of all."""
    result = results[0]
    if len(results) == 1:
        head, title = result.id, result.title
        rows = [("statement", result.statement), *result.explanation]
        rows += [("source", source) for source in result.sources]
    else:
        head, title = f"{len(results)} checks", "for the same cause"
        rows = [("checks", " ".join(other.id for other in results)), *result.explanation]
    if len(result.attempts) > 1:
        rows.append(("attempts", _attempts(result)))
    rows += result.circumstances
    if result.evidence.sandbox:
        rows.append(("kept in", result.evidence.sandbox))
    told = [_verdict(result)]
    if result.unrepeated:
        told.append(Text(": the run ended before the second attempt, alone, that decides", style="dim"))
    elif result.verdict.is_red and not any(other.is_failure() for other in results):
        told.append(Text(" (not required)"))
    console.print(Text.assemble((f"{head} ", "bold"), *told, f"  {one_line(title)}"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    # The default would cut a long word, such as JSON without spaces.
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(f"  {label:<9}", style="dim"), plain(_beginning(text)))
    console.print(grid)
    # Outside of the grid, which would break the line, so that a reader can paste it.
    console.print(Text.assemble(("  rerun      ", "dim"), lines(result.rerun)), soft_wrap=True)


def _beginning(text: str) -> str:
    more = len(text) - _LONGEST
    return text if more <= 0 else f"{text[:_LONGEST]}\n[{more} more characters: --report json=FILE]"


def _attempts(result: Result) -> str:
    first, *later = (attempt.verdict for attempt in result.attempts)
    if later == [first]:
        return f"{first} twice (the second time alone)"
    return ", then alone ".join(map(str, (first, *later)))
