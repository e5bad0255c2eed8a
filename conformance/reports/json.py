"""The whole run as one JSON object, and back: `implementation`, `summary`, `results` and what is known of the run.

Field names and meanings are those of `conformance.model.results`; new fields may be added, none changes its
meaning. So a document of an older runner can be read, fields that it does not have are empty, and fields of a newer
one are left out. `report.schema.json` beside this module is the JSON Schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.errors import UsageError
from conformance.model.results import Result, RunReport, Summary

if TYPE_CHECKING:
    from pathlib import Path


class Implementation(msgspec.Struct, frozen=True, kw_only=True):
    """What was tested."""

    name: str
    command: tuple[str, ...]
    homepage: str
    version: str = ""
    install: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A `RunReport` in the form of the file."""

    implementation: Implementation
    specification: str = ""
    runner: str = ""
    started: str = ""
    families: dict[str, str] = msgspec.field(default_factory=dict)
    summary: Summary
    planned: tuple[str, ...]
    not_run: tuple[str, ...]
    results: tuple[Result, ...]


def document(report: RunReport) -> Document:
    """The report in the form of the file."""
    return Document(
        implementation=implementation_of(report),
        specification=report.specification,
        runner=report.runner,
        started=report.started,
        families=report.families,
        summary=report.summary,
        planned=report.planned,
        not_run=report.not_run,
        results=report.results,
    )


def implementation_of(report: RunReport) -> Implementation:
    """What was tested, as the report has it."""
    return Implementation(
        name=report.implementation,
        command=report.command,
        homepage=report.homepage,
        version=report.version,
        install=report.install,
    )


def render(report: RunReport) -> str:
    """Indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document(report)), indent=2).decode() + "\n"


def read(path: Path) -> RunReport:
    """The report that `render` wrote into this file. Raises `UsageError` naming the file."""
    try:
        whole = msgspec.json.decode(path.read_bytes(), type=Document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: this is not a JSON report of a run: {error}") from error
    return RunReport(
        implementation=whole.implementation.name,
        command=whole.implementation.command,
        homepage=whole.implementation.homepage,
        version=whole.implementation.version,
        install=whole.implementation.install,
        results=whole.results,
        not_run=whole.not_run,
        planned=whole.planned,
        duration_s=whole.summary.duration_s,
        complete=whole.summary.complete,
        strict=whole.summary.strict,
        specification=whole.specification,
        runner=whole.runner,
        started=whole.started,
        families=whole.families,
    )
