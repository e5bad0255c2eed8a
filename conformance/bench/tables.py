"""The figures as tables for terminals and Markdown: ratios, and own values for figures whose goal is for those."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from conformance.bench.figures import DIRECT, RELAY
from conformance.engine.outputs import write
from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.bench.figures import BenchReport, Figure, Measured, Spread

_HEADINGS = ("figure", "ratio", "range", "goal", "")
_BEGIN, _END = "<!-- bench: begin -->", "<!-- bench: end -->"
_NOTHING = "-"
#: characters that a table needs; a narrower terminal cuts its lines
WIDTH = 138


def terminal(report: BenchReport) -> Iterator[Table]:
    """One table for each other implementation."""
    for other in report.others:
        title = f"{report.ours} / {other}, medians of {report.rounds} rounds"
        table = Table(*_HEADINGS, *_limits(report, other), title=title, caption=_about(report, other))
        for section, measured in _sections(report):
            table.add_section()
            table.add_row(f"[bold]{section}[/bold]")
            for one in measured:
                table.add_row(one.figure.name, *_row(one, report.ours, other))
        yield table


def markdown(report: BenchReport) -> str:
    """The same tables in Markdown."""
    parts = []
    for other in report.others:
        limits = _limits(report, other)
        headings = (*_HEADINGS, *limits)
        lines = [f"| {' | '.join(headings)} |", f"| --- | ---: | --- | --- | --- |{' ---: |' * len(limits)}"]
        for section, measured in _sections(report):
            lines.append(f"| **{section}** |" + " |" * (len(headings) - 1))
            for one in measured:
                row = (f"`{one.figure.name}` {one.figure.what}", *_row(one, report.ours, other))
                lines.append(f"| {' | '.join(row)} |")
        parts.append("\n".join(lines) + f"\n\n{_about(report, other)}\n")
    return "\n".join(parts)


def split(page: Path) -> tuple[str, str]:
    """The text before and after the two marks of a page. Raises `UsageError` if the page has no marks."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise UsageError(f"{page} has no lines {_BEGIN} and {_END}")
    return before, after


def write_into(page: Path, report: BenchReport) -> None:
    """Write the tables between the two marks of a page. Raises `UsageError` if the page has no marks."""
    before, after = split(page)
    write(page, f"{before}{_BEGIN}\n{markdown(report)}{_END}{after}")


def verdict(measured: Measured, ours: str, theirs: str) -> str:
    """Whether ours reaches the goal, in words."""
    reached = measured.reached(ours, theirs)
    return "" if reached is None else "reached" if reached else "not reached"


def ratio_text(value: float) -> str:
    """A ratio with its significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _limits(report: BenchReport, other: str) -> tuple[str, ...]:
    return tuple(f"{one} / {limit}" for limit in (DIRECT, RELAY) for one in (report.ours, other))


def _sections(report: BenchReport) -> Iterator[tuple[str, Iterator[Measured]]]:
    return groupby(report.measured, lambda measured: measured.section)


def _row(measured: Measured, ours: str, other: str) -> tuple[str, ...]:
    figure, found = measured.figure, measured.judged(ours, other)
    return (
        _NOTHING if found is None else ratio_text(found.median),
        _NOTHING if found is None else _range(found),
        _goal(figure),
        verdict(measured, ours, other),
        *(_median(measured.ratio(one, limit)) for limit in (DIRECT, RELAY) for one in (ours, other)),
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return "larger" if figure.larger_is_better else "smaller"
    bound = f"{'>=' if figure.larger_is_better else '<='} {figure.goal:g}"
    return f"{bound} (ours)" if figure.own else bound


def _range(spread: Spread) -> str:
    return f"{ratio_text(spread.least)} to {ratio_text(spread.most)}"


def _median(spread: Spread | None) -> str:
    return "" if spread is None else ratio_text(spread.median)


def _about(report: BenchReport, other: str) -> str:
    machine = report.machine
    versions = ", ".join(f"{name} {report.versions.get(name, 'unknown')}" for name in (report.ours, other))
    return (
        f"{versions}; {machine.system}, Python {machine.python}, {machine.cpus} processors, "
        f"load {machine.load_before:g} before and {machine.load_after:g} after; {report.rounds} rounds."
    )
