"""The whole run as one JSON object: `implementation`, `specification`, `summary`, `results`.

Field names and meanings are those of `conformance.results`; new fields may be added, none changes its
meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from conformance.results import RunReport


def document(report: RunReport) -> dict[str, Any]:
    """The report as plain JSON values."""
    document = {
        "implementation": {
            "name": report.implementation,
            "command": report.command,
            "homepage": report.homepage,
        },
        "specification": report.specification,
        "summary": report.summary,
        "planned": report.planned,
        "not_run": report.not_run,
        "results": report.results,
    }
    plain: dict[str, Any] = msgspec.to_builtins(document, str_keys=True)
    return plain


def render(report: RunReport) -> str:
    """Indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document(report)), indent=2).decode() + "\n"
