"""The matrix for people and for programs: a table of the mutants, one of the impostors, and every hole with its evidence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from rich import progress
from rich.table import Table
from rich.text import Text

from conformance.model.verdicts import Verdict
from conformance.reports.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.console import Console

    from conformance.mutation.matrix import Cell, Matrix

_MAX_SUMMARY = 160
_NOW_AND_THEN = 100


class Progress:
    """Shows how far it is: one live line on a terminal; elsewhere a line for each mutant, and one now and then for the impostors."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._bar = progress.Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._total = total
        self._met = 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, cell: Cell) -> None:
        self._bar.advance(self._task)
        self._met += 1
        if cell.worth.is_hole or (cell.kind == "mutant" and not self._console.is_terminal):
            line = f"{cell.id:<10}{cell.program}: {cell.worth} ({cell.duration_s:.1f} s)"
            self._console.print(Text(line), soft_wrap=True)
        elif self._met % _NOW_AND_THEN == 0 and not self._console.is_terminal:
            self._console.print(f"{self._met} of {self._total} meetings")


def print_matrix(console: Console, matrix: Matrix) -> None:
    """The tables, then every hole, then the counts."""
    mutants = matrix.of_kind("mutant")
    if mutants:
        console.print(_table_of_mutants(mutants))
    impostors = matrix.of_kind("impostor")
    if impostors:
        console.print(_table_of_impostors(impostors))
    for hole in matrix.holes:
        console.print()
        _print_hole(console, hole)
    found = ", ".join(f"{count} {worth}" for worth, count in matrix.counts.items() if count)
    programs = len({cell.program for cell in matrix.cells})
    end = "" if matrix.complete else ", INCOMPLETE"
    style = "bold red" if matrix.holes or not matrix.complete else "bold green"
    line = f"{programs} programs, {len(matrix.cells)} meetings: {found} in {matrix.duration_s:.1f} s{end}"
    console.print(Text(f"\n{line}", style=style), soft_wrap=True)


def render_json(matrix: Matrix) -> str:
    """`against`, `complete`, `duration_s`, `counts` and all `cells`, indented, with a final newline."""
    document = {"counts": matrix.counts, **msgspec.to_builtins(matrix)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


FORMATS: Mapping[str, Callable[[Matrix], str]] = {"json": render_json}


def _table_of_mutants(cells: list[Cell]) -> Table:
    table = Table(title="Mutants", title_justify="left", box=None)
    for name in ("requirement", "mutant", "worth", "verdict"):
        table.add_column(name)
    table.add_column("what was expected and seen", no_wrap=True, overflow="ellipsis")
    for cell in cells:
        if cell.declared is None and not cell.worth.is_hole:
            continue  # where nothing was expected and nothing happened, there is nothing to tell
        summary = plain(cell.summary[:_MAX_SUMMARY])
        table.add_row(cell.id, Text(cell.program), _worth(cell), str(cell.verdict), summary)
    for column in table.columns[:-1]:
        # What is left goes to the last one: a name that is cut cannot be searched for.
        column.min_width = max(len(str(text)) for text in (column.header, *column.cells))
    return table


def _table_of_impostors(cells: list[Cell]) -> Table:
    table = Table(title="Impostors", title_justify="left", box=None)
    verdicts = [verdict for verdict in Verdict if any(cell.verdict is verdict for cell in cells)]
    for name in ("impostor", *map(str, verdicts)):
        table.add_column(name, justify="left" if name == "impostor" else "right")
    for program in dict.fromkeys(cell.program for cell in cells):
        counts = Counter(cell.verdict for cell in cells if cell.program == program)
        table.add_row(program, *(str(counts[verdict] or "") for verdict in verdicts))
    return table


def _worth(cell: Cell) -> Text:
    again = " (re-run)" if len(cell.attempts) > 1 else ""
    return Text(f"{cell.worth}{again}", style="bold red" if cell.worth.is_hole else "green")


def _print_hole(console: Console, cell: Cell) -> None:
    console.print(Text.assemble((f"{cell.id} {cell.program}: ", "bold"), _worth(cell), f", {cell.verdict}"))
    for label, text in (
        ("declared", cell.declared or ""),
        ("message", cell.message),
        ("stack", cell.stack_trace),
    ):
        for line in text.splitlines():
            console.print(Text.assemble((f"  {label:<9}", "dim"), plain(line)), soft_wrap=True)
    console.print(Text.assemble(("  rerun    ", "dim"), cell.rerun), soft_wrap=True)
