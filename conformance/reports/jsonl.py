"""The run as JSON lines: one `result` per check in the order of the ids, then one `summary` line.

A file without a summary line is the report of a run that did not come to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.reports.json import document

if TYPE_CHECKING:
    from conformance.results import RunReport


def render(report: RunReport) -> str:
    """One object per line, each with the field `type`."""
    whole = document(report)
    lines = [{"type": "result", **result} for result in whole["results"]]
    lines.append(
        {
            "type": "summary",
            "implementation": whole["implementation"],
            "specification": whole["specification"],
            "runner": whole["runner"],
            "started": whole["started"],
            **whole["summary"],
            "planned_ids": whole["planned"],
            "not_run_ids": whole["not_run"],
        }
    )
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)
