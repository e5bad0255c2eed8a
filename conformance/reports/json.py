"""The whole run as one JSON object, and back: `implementation`, `summary`, `results` and the facts of the run.

Field names and meanings are those of `conformance.model.results`. New fields may appear, but none changes its meaning. So this module reads
the document of an older runner: missing fields are empty. It also reads that of a newer one, and ignores unknown fields.
`report.schema.json` beside this module is the JSON Schema.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from conformance.errors import UsageError
from conformance.model.results import Result, RunReport, Summary

if TYPE_CHECKING:
    from pathlib import Path

#: the version at the end of `pip install name==1.2.3` or `npm install name@1.2.3`
_PINNED = re.compile(r"(?:==|@)(\d[\w.+-]*)$")


class Implementation(msgspec.Struct, frozen=True, kw_only=True):
    """The implementation under test."""

    name: str
    command: tuple[str, ...]
    homepage: str
    #: what it said in its answer to `initialize`; a relay passes on that of its server
    version: str = ""
    install: str = ""

    @property
    def shown_version(self) -> str:
        """The version that the command of the installation names, and the one in `initialize` if it is another."""
        pinned = _PINNED.search(self.install)
        if pinned is None or pinned[1] == self.version:
            return self.version
        return f"{pinned[1]} (initialize: {self.version})" if self.version else pinned[1]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A `RunReport` as the file holds it."""

    implementation: Implementation
    specification: str = ""
    runner: str = ""
    started: str = ""
    families: dict[str, str] = msgspec.field(default_factory=dict)
    summary: Summary
    planned: tuple[str, ...]
    not_run: tuple[str, ...]
    stopped_by: str = ""
    results: tuple[Result, ...]


def document(report: RunReport) -> Document:
    """The report as the file holds it."""
    return Document(
        implementation=implementation_of(report),
        specification=report.specification,
        runner=report.runner,
        started=report.started,
        families=report.families,
        summary=report.summary,
        planned=report.planned,
        not_run=report.not_run,
        stopped_by=report.stopped_by,
        results=report.results,
    )


def implementation_of(report: RunReport) -> Implementation:
    """The implementation of this report."""
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
        stopped_by=whole.stopped_by,
        planned=whole.planned,
        duration_s=whole.summary.duration_s,
        complete=whole.summary.complete,
        strict=whole.summary.strict,
        specification=whole.specification,
        runner=whole.runner,
        started=whole.started,
        families=whole.families,
    )
