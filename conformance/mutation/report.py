"""Writes the matrix: for people a table of the mutants, one of the null programs, and every gap with its evidence; or JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from rich import progress
from rich.table import Table
from rich.text import Text

from conformance.model.verdicts import Verdict
from conformance.mutation.plan import ProgramKind
from conformance.reports.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.console import Console

    from conformance.mutation.matrix import Matrix, MatrixCell

_MAX_SUMMARY = 160
#: trials of null programs for each line of progress in a log
_LINE_EVERY = 100


class Progress:
    """Shows progress: one live line on a terminal; elsewhere a line for each mutant and for every hundredth trial."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._bar = progress.Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._total = total
        self._done = 0

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, cell: MatrixCell) -> None:
        self._bar.advance(self._task)
        self._done += 1
        if cell.outcome.is_gap or (cell.kind is ProgramKind.MUTANT and not self._console.is_terminal):
            line = f"{cell.id:<10}{cell.program}: {cell.outcome} ({cell.duration_s:.1f} s)"
            self._console.print(Text(line), soft_wrap=True)
        elif self._done % _LINE_EVERY == 0 and not self._console.is_terminal:
            self._console.print(f"{self._done} of {self._total} trials")


def print_matrix(console: Console, matrix: Matrix) -> None:
    """The tables, then every gap, then the counts."""
    mutants = matrix.of_kind(ProgramKind.MUTANT)
    if mutants:
        console.print(_table_of_mutants(mutants))
    for kind, title in (
        (ProgramKind.LEGITIMATE, "Legitimate designs"),
        (ProgramKind.NULL_PROGRAM, "Null programs"),
    ):
        if cells := matrix.of_kind(kind):
            console.print(_table_of_verdicts(title, cells))
    for gap in matrix.gaps:
        console.print()
        _print_gap(console, gap)
    found = ", ".join(f"{count} {outcome}" for outcome, count in matrix.counts.items() if count)
    programs = len({cell.program for cell in matrix.cells})
    end = "" if matrix.complete else ", INCOMPLETE"
    style = "bold red" if matrix.gaps or not matrix.complete else "bold green"
    line = f"{programs} programs, {len(matrix.cells)} trials: {found} in {matrix.duration_s:.1f} s{end}"
    console.print(Text(f"\n{line}", style=style), soft_wrap=True)


def render_json(matrix: Matrix) -> str:
    """`against`, `complete`, `duration_s`, `counts` and all `cells`, indented, with a final newline."""
    document = {"counts": matrix.counts, **msgspec.to_builtins(matrix)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


FORMATS: Mapping[str, Callable[[Matrix], str]] = {"json": render_json}


def _table_of_mutants(cells: list[MatrixCell]) -> Table:
    table = Table(title="Mutants", title_justify="left", box=None)
    for name in ("requirement", "mutant", "outcome", "verdict"):
        table.add_column(name)
    table.add_column("what the check expected and saw", no_wrap=True, overflow="ellipsis")
    for cell in cells:
        if cell.declared is None and not cell.outcome.is_gap:
            continue  # as it should be: the mutant does not declare this check, and the check held
        summary = plain(cell.summary[:_MAX_SUMMARY])
        table.add_row(cell.id, Text(cell.program), _outcome(cell), str(cell.verdict), summary)
    for column in table.columns[:-1]:
        # Only the last column may shrink: a reader cannot search for a shortened name.
        column.min_width = max(len(str(text)) for text in (column.header, *column.cells))
    return table


def _table_of_verdicts(title: str, cells: list[MatrixCell]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    verdicts = [verdict for verdict in Verdict if any(cell.verdict is verdict for cell in cells)]
    for name in ("program", *map(str, verdicts)):
        table.add_column(name, justify="left" if name == "program" else "right")
    for program in dict.fromkeys(cell.program for cell in cells):
        counts = Counter(cell.verdict for cell in cells if cell.program == program)
        table.add_row(program, *(str(counts[verdict] or "") for verdict in verdicts))
    return table


def _outcome(cell: MatrixCell) -> Text:
    again = " (retried)" if len(cell.attempts) > 1 else ""
    return Text(f"{cell.outcome}{again}", style="bold red" if cell.outcome.is_gap else "green")


def _print_gap(console: Console, cell: MatrixCell) -> None:
    console.print(Text.assemble((f"{cell.id} {cell.program}: ", "bold"), _outcome(cell), f", {cell.verdict}"))
    for label, text in (
        ("declared", cell.declared or ""),
        ("message", cell.message),
        ("stack", cell.stack_trace),
    ):
        for line in text.splitlines():
            console.print(Text.assemble((f"  {label:<9}", "dim"), plain(line)), soft_wrap=True)
    console.print(Text.assemble(("  rerun    ", "dim"), cell.rerun), soft_wrap=True)
