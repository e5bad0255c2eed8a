"""Runs checks against one implementation and turns what happens into results.

Guarantees: at most `jobs` quick checks run at a time, and at most twice as many in all, because slow ones mostly
wait (`jobs=1`: one at all); serial ones have nothing beside them; the longest are started first; every check has a deadline; a
red verdict, or a warning, is tried again once, alone, after all others; both attempts are reported. Ctrl-C and SIGTERM
cancel what runs, let every workbench tear down, and leave a report that is marked incomplete. Limits: a check
that blocks the event loop or shields itself cannot be cut off; the teardown of a workbench is bounded by the
workbench itself, the runner only says so when it took too long.
"""

from __future__ import annotations

import shlex
import time
import traceback
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio
import msgspec

from conformance.engine.scheduler import in_lanes, signals_cancel
from conformance.errors import CheckTimeout, HarnessError, Violation
from conformance.model.baseline import Baseline
from conformance.model.evidence import Evidence, encodable
from conformance.model.registry import Registry
from conformance.model.results import Attempt, Result, RunReport
from conformance.model.sut import DEFAULT_PROFILE, Sut
from conformance.model.verdicts import Level, Verdict, decisive, judge, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.checks import Check
    from conformance.workbench.workbench import Workbench

DEFAULT_JOBS = 8

#: Seconds for the set-up and teardown of one workbench, on top of the check's own deadline.
SETUP_AND_TEARDOWN = 60.0


class WorkbenchFactory(Protocol):
    """How a check gets its workbench; `conformance.workbench.open_workbench` is the real one."""

    def __call__(self, sut: Sut, check_id: str, *, keep: bool) -> AbstractAsyncContextManager[Workbench]: ...


@dataclass(frozen=True)
class Started:
    """An attempt at a check begins."""

    check: Check
    attempt: int


@dataclass(frozen=True)
class Finished:
    """An attempt at a check has ended. `final`: no further attempt follows."""

    check: Check
    result: Result
    final: bool


RunEvent: TypeAlias = Started | Finished


async def run(
    sut: Sut,
    checks: Iterable[Check],
    *,
    jobs: int = DEFAULT_JOBS,
    time_scale: float = 1.0,
    keep: bool = False,
    on_event: Callable[[RunEvent], None] = lambda event: None,
    baseline: Baseline | None = None,
    open_workbench: WorkbenchFactory | None = None,
    second_attempts: bool = True,
) -> RunReport:
    """Run `checks` against `sut`. Every check deadline is multiplied by `time_scale`, which may be infinite.

    The report carries no planned requirements and is not strict; whoever selected the checks adds that.
    """
    began = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    todo = sorted(checks, key=lambda check: check.id)
    execution = Execution(
        sut,
        time_scale=time_scale,
        keep=keep,
        on_event=on_event,
        baseline=baseline,
        second_attempts=second_attempts,
        open_workbench=open_workbench,
    )
    async with signals_cancel() as scope:
        await in_lanes([(execution, check) for check in todo], jobs)
    return RunReport(
        implementation=sut.name,
        command=sut.command,
        homepage=sut.profile.homepage,
        version=encodable(execution.version),
        install=sut.profile.install,
        results=tuple(execution.results[check.id] for check in todo if check.id in execution.results),
        not_run=tuple(check.id for check in todo if check.id not in execution.results),
        duration_s=time.monotonic() - began,
        complete=not scope.cancel_called,
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


def rerun_line(sut: Sut, requirement_id: str) -> str:
    """One shell line that runs just this check again."""
    origin = sut.profile.origin
    profile = ["--profile", origin] if origin and origin != DEFAULT_PROFILE else []
    command = ["python", "-m", "conformance", "run", "--only", requirement_id, *profile, "--", *sut.command]
    # `{config}` stays readable: no shell expands braces around a single word.
    return " ".join(part if part == "{config}" else shlex.quote(part) for part in command)


class Execution:
    """The checks of one implementation, and who owns their results."""

    def __init__(
        self,
        sut: Sut,
        *,
        time_scale: float = 1.0,
        keep: bool = False,
        on_event: Callable[[RunEvent], None] = lambda event: None,
        baseline: Baseline | None = None,
        second_attempts: bool = True,
        open_workbench: WorkbenchFactory | None = None,
    ) -> None:
        self.sut = sut
        self.time_scale = time_scale
        self.keep = keep
        self.on_event = on_event
        self.baseline = baseline or Baseline(sut.profile.known)
        self.second_attempts = second_attempts
        self.open_workbench = workbench_factory(open_workbench)
        self.results: dict[str, Result] = {}
        #: that of the implementation, as far as it gave one
        self.version = ""

    async def attempt(self, check: Check) -> None:
        """Run the check; the result takes the place of an earlier one, whose attempts it keeps."""
        earlier = self.results.get(check.id)
        self.on_event(Started(check, 1 if earlier is None else 2))
        absent = self.sut.profile.reason_for_absence(check.id)
        if absent is not None:
            outcome = _Outcome(Verdict.NOT_APPLICABLE, None, f"declared absent: {absent}", Evidence(), 0.0)
        else:
            outcome = await self._run_check(check)
        result = self._result(check, outcome, earlier)
        self.results[check.id] = result
        self.on_event(Finished(check, result, final=earlier is not None or not self._is_rerun(result)))

    def wants_again(self, check: Check) -> bool:
        """Whether the check, which has a result, is to be tried a second time."""
        return self._is_rerun(self.results[check.id])

    def _is_rerun(self, result: Result) -> bool:
        return self.second_attempts and result.is_rerun

    async def _run_check(self, check: Check) -> _Outcome:
        """Never raises an `Exception`: whatever happens becomes an outcome."""
        deadline = check.timeout * self.time_scale
        began = time.monotonic()
        workbench: Workbench | None = None
        failures: list[BaseException] = []
        duration: float | None = None
        try:
            with anyio.fail_after(deadline + SETUP_AND_TEARDOWN) as outer:
                async with self.open_workbench(self.sut, check.id, keep=self.keep) as workbench:
                    check_began = time.monotonic()
                    with anyio.move_on_after(deadline) as inner:
                        # Kept aside while the workbench closes, so that a failing teardown cannot hide it.
                        try:
                            await check.run(workbench)
                        except Exception as error:
                            failures.append(error)
                    duration = time.monotonic() - check_began
                    if inner.cancelled_caught or (inner.cancel_called and failures):
                        failures.append(CheckTimeout(deadline))
        except Exception as error:
            if outer.cancelled_caught and isinstance(error, TimeoutError):
                error = HarnessError(
                    f"the workbench took longer than {SETUP_AND_TEARDOWN:g} s to open and close"
                )
            failures.append(error)
        if duration is None:
            duration = time.monotonic() - began
        evidence = _evidence_of(workbench, failures)
        self.version = self.version or (workbench.version if workbench is not None else "")
        if not failures:
            return _Outcome(Verdict.PASS, None, "", evidence, duration)
        failure = (
            failures[0] if len(failures) == 1 else BaseExceptionGroup("the check and its teardown", failures)
        )
        level = check.requirement.level
        return _Outcome(
            judge(level, failure), decisive(failure, level), _message(failure, level), evidence, duration
        )

    def _result(self, check: Check, outcome: _Outcome, earlier: Result | None) -> Result:
        requirement = check.requirement
        source = requirement.sources[0]
        violation = outcome.cause if isinstance(outcome.cause, Violation) else None
        attempt = Attempt(outcome.verdict, outcome.message, outcome.duration)
        return Result(
            id=check.id,
            level=requirement.level,
            era=requirement.era,
            verdict=outcome.verdict,
            title=requirement.title,
            statement=" ".join(requirement.statement.split()),
            observed=" ".join(requirement.observed.split()),
            message=outcome.message,
            expected=encodable(violation.expected) if violation else None,
            seen=encodable(violation.seen) if violation else None,
            source=str(source),
            quote=source.quote,
            duration_s=outcome.duration,
            evidence=outcome.evidence,
            rerun=rerun_line(self.sut, check.id),
            attempts=(*(earlier.attempts if earlier else ()), attempt),
            known=self.baseline.reason_for(check.id, outcome.verdict),
            stale=self.baseline.is_stale(check.id, outcome.verdict),
        )


@dataclass(frozen=True)
class _Outcome:
    verdict: Verdict
    cause: BaseException | None
    message: str
    evidence: Evidence
    duration: float


def _message(failure: BaseException, level: Level) -> str:
    """All that went wrong; an unforeseen exception comes with the place where it was raised."""
    parts = []
    for leaf in leaves(failure):
        if judge(level, leaf) is Verdict.HARNESS_ERROR:
            parts.append("".join(traceback.format_exception(leaf)).rstrip())
        else:
            parts.append(str(leaf) or type(leaf).__name__)
    return encodable("\n".join(parts))


def _evidence_of(workbench: Workbench | None, failures: list[BaseException]) -> Evidence:
    if workbench is None:
        return Evidence()
    try:
        return workbench.evidence
    except Exception as error:
        failures.append(error)
        return Evidence()


def workbench_factory(given: WorkbenchFactory | None) -> WorkbenchFactory:
    """`given`, or the real one."""
    if given is not None:
        return given
    # Imported late: it brings process handling that `list`, `show` and the tests of the runner do without.
    from conformance.workbench.workbench import open_workbench

    return open_workbench


def with_selection(report: RunReport, *, planned: Iterable[str], strict: bool) -> RunReport:
    """The report, completed by what only the selection knows."""
    return msgspec.structs.replace(report, planned=tuple(planned), strict=strict)
