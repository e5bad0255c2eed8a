"""The view of the page: rows of requirements with a cell for every report, and the facts of the runs.

All of it comes from the reports. `Detail` bounds the size of a row, so the size of the page depends on the number of results and not on
their content.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from conformance.model.verdicts import Verdict
from conformance.reports.html.sequence import Diagram, both_ends, draw
from conformance.reports.html.steps import Step, read_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.results import Result, RunReport


@dataclass(frozen=True)
class Detail:
    """How much of a result the page shows, in steps and characters."""

    #: of the log of a failed check
    steps: int
    step_text: int
    #: of the log of a passed check, without texts
    short_steps: int
    #: of the packed copy of a log that the page shortens
    packed_steps: int
    packed_text: int
    #: of a message, and of the end of stdout and stderr
    message: int
    tail: int


#: the page uses the first that makes it small enough
DETAILS = (
    Detail(400, 600, 12, 400, 600, 20_000, 4_096),
    Detail(80, 300, 8, 400, 400, 8_000, 2_000),
    Detail(40, 200, 8, 300, 300, 4_000, 1_500),
    Detail(28, 140, 6, 200, 200, 3_000, 1_000),
    Detail(20, 120, 6, 150, 160, 2_000, 700),
    Detail(12, 80, 4, 100, 120, 1_000, 400),
    Detail(6, 40, 2, 40, 60, 300, 200),
)

#: of its markup alone
_BYTES_OF_A_STEP = 50

_ANCHOR = re.compile(r"[A-Z]+-[0-9]+")
NOT_RUN, NOT_REPEATED = "not run", "not repeated"
#: further choices of the filter of verdicts
NOT_PASSED, DIFFERS = "not passed", "differs"

_SYMBOLS = {
    "pass": "✓",
    "fail": "✗",
    "crash": "✹",
    "timeout": "◷",
    "untestable": "?",
    "warn": "△",
    "harness-error": "!",
    "n/a": "⊘",
    "known": "○",
    "stale": "↺",
    NOT_RUN: "…",
    NOT_REPEATED: "…",
    "planned": "◌",
    "not selected": "·",
}
#: the meanings of the colours, in the order of the bar
TONES = ("good", "known", "warn", "bad", "none")


@dataclass(frozen=True)
class PageCell:
    """One requirement in one report. `word` is its verdict, or the reason why there is none."""

    word: str
    result: Result | None = None

    @property
    def tokens(self) -> list[str]:
        """The words of the verdict filter that find it."""
        result = self.result
        if result is None:
            return [self.word]
        marks = (
            ("known", result.known is not None),
            ("stale", result.stale),
            (NOT_REPEATED, result.unrepeated),
        )
        return [self.word, *(name for name, holds in marks if holds)]

    @property
    def text(self) -> str:
        """The verdict in words."""
        return " ".join([*self.tokens[1:], self.word])

    @property
    def symbol(self) -> str:
        return _SYMBOLS.get(self.tokens[-1], "?")

    @property
    def tone(self) -> str:
        """One of `TONES`."""
        if self.result is None or self.result.verdict is Verdict.NOT_APPLICABLE:
            return "none"
        if self.result.stale:
            return "bad"
        if self.result.known is not None:
            return "known"
        if self.result.unrepeated:
            return "warn"
        if self.result.is_failure():
            return "bad"
        return "warn" if self.result.is_failure(strict=True) else "good"

    @property
    def severity(self) -> int:
        """For sorting: the worst first."""
        return len(Verdict) if self.result is None else self.result.verdict.severity

    @property
    def passed(self) -> bool:
        return self.tone == "good"

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of its event log."""
        return [] if self.result is None else read_log(self.result.evidence.events)

    def diagram(self, detail: Detail) -> Diagram:
        """The log as the page shows it."""
        if self.passed:
            return draw(self.steps, most=detail.short_steps, longest=0, minor=False)
        return draw(self.steps, most=detail.steps, longest=detail.step_text)

    def packed_diagram(self, detail: Detail) -> Diagram:
        """The longer log for readers with JavaScript."""
        minor = not self.passed
        return draw(self.steps, most=detail.packed_steps, longest=detail.packed_text, minor=minor)

    @property
    def wants_attention(self) -> bool:
        """Whether the check did not pass, or did not run although it should."""
        return self.word == NOT_RUN or self.tone in ("known", "warn", "bad")

    @property
    def beyond(self) -> str | None:
        """The message, if it says more than `expected` and `seen`."""
        result = self.result
        if result is None or not result.message:
            return None
        alone = f"expected: {result.expected}\nseen: {result.seen}"
        return None if result.expected is not None and result.message == alone else result.message


@dataclass(frozen=True)
class PageRow:
    """One requirement, as the first report that has a result for it describes it."""

    id: str
    cells: tuple[PageCell, ...]
    #: its target for links
    anchor: str

    @property
    def family(self) -> str:
        return self.id.partition("-")[0]

    @cached_property
    def about(self) -> Result | None:
        """The result whose wording the row shows; None if no report has a result."""
        return next((cell.result for cell in self.cells if cell.result is not None), None)

    @property
    def differs(self) -> bool:
        """Whether the reports with a result disagree."""
        return len({cell.text for cell in self.cells if cell.result is not None}) > 1

    @property
    def tokens(self) -> list[str]:
        """The words of the verdict filter that find it."""
        found = dict.fromkeys(token for cell in self.cells for token in cell.tokens)
        marks = ((NOT_PASSED, any(cell.wants_attention for cell in self.cells)), (DIFFERS, self.differs))
        return [*found, *(name for name, holds in marks if holds)]

    def other_words(self, cell: PageCell) -> list[tuple[str, str]]:
        """The words of this cell's report about the requirement that differ from those of the row."""
        names = ("title", "level", "era", "reach", "statement", "observed", "source", "quote")
        if cell.result is None or self.about is None:
            return []
        pairs = [(name, getattr(cell.result, name)) for name in names]
        return [(name, str(words)) for name, words in pairs if words and words != getattr(self.about, name)]


@dataclass(frozen=True)
class PageFamily:
    """The requirements of one family."""

    name: str
    title: str
    rows: tuple[PageRow, ...]


@dataclass(frozen=True)
class Run:
    """One report and its counts."""

    report: RunReport
    cells: tuple[PageCell, ...]

    @property
    def counts(self) -> list[tuple[PageCell, int]]:
        """An example cell and the number of cells for each verdict, the worst first."""
        examples = {cell.text: cell for cell in reversed(self.cells) if cell.result is not None}
        numbers = Counter(cell.text for cell in self.cells)
        ordered = sorted(examples.items(), key=lambda entry: (entry[1].severity, entry[0]))
        return [(cell, numbers[text]) for text, cell in ordered]

    @property
    def passed(self) -> int:
        return sum(cell.passed for cell in self.cells)

    @property
    def bar(self) -> list[tuple[str, int, int]]:
        """Tone, start and length of each segment, for the cells with a result."""
        numbers = Counter(cell.tone for cell in self.cells if cell.result is not None)
        segments, at = [], 0
        for tone in TONES:
            if numbers[tone]:
                segments.append((tone, at, numbers[tone]))
                at += numbers[tone]
        return segments

    @property
    def link(self) -> str | None:
        """The homepage, if it is a web page; no other scheme may become a link."""
        page = self.report.homepage
        return page if page.startswith(("https://", "http://")) else None


def least_bytes(rows: Sequence[PageRow], detail: Detail) -> int:
    """A lower bound of the size of the page, which costs no rendering."""
    cells = [cell for row in rows for cell in row.cells if not cell.passed]
    steps = (step for cell in cells for step in both_ends(cell.steps, detail.steps))
    return sum(min(len(step.text), detail.step_text) + _BYTES_OF_A_STEP for step in steps)


def runs_of(reports: Sequence[RunReport], rows: Sequence[PageRow]) -> list[Run]:
    """The reports with their columns of the rows."""
    return [Run(report, tuple(row.cells[at] for row in rows)) for at, report in enumerate(reports)]


def rows_of(reports: Sequence[RunReport]) -> list[PageRow]:
    """Every requirement that a report names, in the order of the ids."""
    columns = [_column(report) for report in reports]
    ids = sorted({id_ for column in columns for id_ in column})
    missing = PageCell("not selected")
    return [
        PageRow(id_, tuple(column.get(id_, missing) for column in columns), _anchor(id_, number))
        for number, id_ in enumerate(ids)
    ]


def families_of(reports: Sequence[RunReport], rows: Sequence[PageRow]) -> list[PageFamily]:
    """The rows by family."""
    titles = {name: title for report in reversed(reports) for name, title in report.families.items()}
    names = dict.fromkeys(row.family for row in rows)
    return [
        PageFamily(name, titles.get(name, ""), tuple(row for row in rows if row.family == name))
        for name in names
    ]


def _anchor(id_: str, number: int) -> str:
    """The id, if it is a valid anchor; the page's own anchors begin with an underscore."""
    return id_ if _ANCHOR.fullmatch(id_) else f"_row{number}"


def _column(report: RunReport) -> dict[str, PageCell]:
    planned = {id_: PageCell("planned") for id_ in report.planned}
    not_run = {id_: PageCell(NOT_RUN) for id_ in report.not_run}
    results = {result.id: PageCell(str(result.verdict), result) for result in report.results}
    return {**planned, **not_run, **results}
