"""The run as JSON lines: one `result` line for each check in the order of the ids, then one `summary` line.

A file without a summary line belongs to a run that did not end. `#/$defs/Line` of `report.schema.json` describes a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from conformance.model.results import Result, Summary
from conformance.reports.json import Implementation, document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.results import RunReport


class ResultLine(Result, frozen=True, kw_only=True, tag_field="type", tag="result"):
    """The outcome of one check."""


class SummaryLine(Summary, frozen=True, kw_only=True, tag_field="type", tag="summary"):
    """The last line: the counts, and the implementation under test."""

    implementation: Implementation
    specification: str
    runner: str
    started: str
    planned_ids: tuple[str, ...]
    not_run_ids: tuple[str, ...]
    stopped_by: str


Line: TypeAlias = ResultLine | SummaryLine


def render(report: RunReport) -> str:
    """One object per line, each with the field `type`."""
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in _lines(report))


def _lines(report: RunReport) -> Iterator[Line]:
    whole = document(report)
    for result in whole.results:
        yield ResultLine(**msgspec.structs.asdict(result))
    yield SummaryLine(
        **msgspec.structs.asdict(whole.summary),
        implementation=whole.implementation,
        specification=whole.specification,
        runner=whole.runner,
        started=whole.started,
        planned_ids=whole.planned,
        not_run_ids=whole.not_run,
        stopped_by=whole.stopped_by,
    )
