"""Runs the checks of one implementation and reports the results.

Guarantees: see `scheduler` for the order of the checks and `execution` for the verdicts. The report holds all attempts. Ctrl-C and
SIGTERM cancel the running checks, let every workbench tear down, and leave a report that is marked incomplete. A result that lacks its
second attempt then says so. An early stop leaves an incomplete report too, and lets the running checks end.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec

from conformance.engine.execution import DEFAULT_OPTIONS, Execution
from conformance.engine.scheduler import schedule, signals_cancel
from conformance.model.evidence import encodable
from conformance.model.registry import Registry
from conformance.model.results import NO_ANSWER, RunReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.checks import Check
    from conformance.engine.execution import RunEvent, RunOptions
    from conformance.model.sut import Sut

DEFAULT_JOBS = 8


async def run(
    sut: Sut,
    checks: Iterable[Check],
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    jobs: int = DEFAULT_JOBS,
    on_event: Callable[[RunEvent], None] = lambda event: None,
) -> RunReport:
    """Run `checks` against `sut`, so many `jobs` at a time.

    The report names no planned requirements and is not strict: `with_selection` adds both.
    """
    began = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    todo = sorted(checks, key=lambda check: check.id)
    execution = Execution(sut, options, on_event=on_event)
    async with signals_cancel() as interruption:
        await schedule([(execution, check) for check in todo], jobs)
    not_run = tuple(check.id for check in todo if check.id not in execution.results)
    stopped_by = interruption.signal.name if interruption.signal else NO_ANSWER if not_run else ""
    return RunReport(
        implementation=sut.name,
        command=sut.command,
        homepage=sut.profile.homepage,
        version=encodable(execution.version),
        install=sut.profile.install,
        results=execution.results_of(todo, interrupted=interruption.signal is not None),
        not_run=not_run,
        duration_s=time.monotonic() - began,
        complete=not stopped_by,
        stopped_by=stopped_by,
        runner=_own_version(),
        started=started,
        families=_family_titles(todo),
    )


def _own_version() -> str:
    try:
        return metadata.version("dynamic-mcp-reference")
    except metadata.PackageNotFoundError:  # it runs from a source tree
        return ""


def _family_titles(checks: Iterable[Check]) -> dict[str, str]:
    titles = Registry.load().families
    families = sorted({check.requirement.family for check in checks})
    return {family: titles[family] for family in families if family in titles}


def with_selection(report: RunReport, *, planned: Iterable[str], strict: bool) -> RunReport:
    """The report, with what only the caller that selected the checks knows."""
    return msgspec.structs.replace(report, planned=tuple(planned), strict=strict)
