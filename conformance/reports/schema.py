"""The JSON Schema (draft 2020-12) of the JSON report, made from the structs that the runner writes and reads.

`python -m conformance.reports.schema` writes it to `report.schema.json`, which is part of the package; the tests keep both equal. The root
describes the JSON report; `#/$defs/Line` describes one line of the JSON lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from conformance.reports.json import Document
from conformance.reports.jsonl import ResultLine, SummaryLine

FILE = Path(__file__).with_name("report.schema.json")
_REFERENCE = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """The schema as plain JSON values."""
    (whole, line), definitions = msgspec.json.schema_components(
        (Document, ResultLine | SummaryLine), ref_template=_REFERENCE
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of a conformance run",
        **whole,
        "$defs": {"Line": {"title": "Line", **line}, **dict(sorted(definitions.items()))},
    }


def render() -> str:
    """The text of the file."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
