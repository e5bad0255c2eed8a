"""One implementation and its checks: makes the attempts at a check and turns each into a result.

Guarantees: every check has a deadline, and every exception, of the check or of its workbench, becomes a verdict. Limits: nothing can
interrupt a check that blocks the event loop or shields itself. The workbench bounds its own teardown; an attempt only reports one that
took too long.
"""

from __future__ import annotations

import shlex
import time
import traceback
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio

from conformance.engine.blame import blamed
from conformance.errors import CheckTimeout, HarnessError, Violation
from conformance.model.baseline import Baseline
from conformance.model.evidence import Evidence, encodable
from conformance.model.results import Attempt, Result
from conformance.model.sut import Sut
from conformance.model.verdicts import Level, Verdict, decisive, judge, leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.checks import Check
    from conformance.workbench.workbench import Workbench

#: seconds for the set-up and teardown of one workbench, in addition to the deadline of the check
SETUP_AND_TEARDOWN = 60.0


class WorkbenchFactory(Protocol):
    """Opens the workbench of a check; `open_workbench` of the workbench is the real one, tests pass others."""

    def __call__(self, sut: Sut, check_id: str, *, keep: bool) -> AbstractAsyncContextManager[Workbench]: ...


def workbench_factory(given: WorkbenchFactory | None) -> WorkbenchFactory:
    """`given`, or the real one."""
    if given is not None:
        return given
    # Imported late, because `list`, `show` and the tests of the engine need no process handling.
    from conformance.workbench.workbench import open_workbench

    return open_workbench


@dataclass(frozen=True)
class AttemptStarted:
    """An attempt at a check begins."""

    check: Check
    attempt: int


@dataclass(frozen=True)
class AttemptFinished:
    """An attempt at a check has ended. `final`: no further attempt follows."""

    check: Check
    result: Result
    final: bool


RunEvent: TypeAlias = AttemptStarted | AttemptFinished


class Execution:
    """The attempts at the checks of one implementation, and their results."""

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
        #: the version of the implementation, once it has told one
        self.version = ""

    async def attempt(self, check: Check) -> None:
        """Run the check. The new result replaces an earlier one and keeps its attempts."""
        earlier = self.results.get(check.id)
        self.on_event(AttemptStarted(check, 1 if earlier is None else 2))
        absent = self.sut.profile.reason_for_absence(check.id, check.requirement.era)
        if absent is not None:
            ended = _Ended(Verdict.NOT_APPLICABLE, None, f"declared absent: {absent}", Evidence(), 0.0)
        else:
            ended = await self._run_check(check)
        result = self._result(check, ended, earlier)
        self.results[check.id] = result
        self.on_event(AttemptFinished(check, result, final=earlier is not None or not self._is_rerun(result)))

    def wants_again(self, check: Check) -> bool:
        """Whether the check, which has a result, needs a second attempt."""
        return self._is_rerun(self.results[check.id])

    def _is_rerun(self, result: Result) -> bool:
        return self.second_attempts and result.is_rerun

    async def _run_check(self, check: Check) -> _Ended:
        """Never raises an `Exception`: every failure becomes part of the returned value."""
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
                        # Kept aside while the workbench closes, so that a failing teardown cannot hide the failure of the check.
                        try:
                            await check.run(workbench)
                        except Exception as error:
                            failures.append(blamed(error))
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
            return _Ended(Verdict.PASS, None, "", evidence, duration)
        failure = (
            failures[0] if len(failures) == 1 else BaseExceptionGroup("the check and its teardown", failures)
        )
        level = check.requirement.level
        return _Ended(
            judge(level, failure), decisive(failure, level), _message(failure, level), evidence, duration
        )

    def _result(self, check: Check, ended: _Ended, earlier: Result | None) -> Result:
        requirement = check.requirement
        source = requirement.sources[0]
        violation = ended.cause if isinstance(ended.cause, Violation) else None
        attempt = Attempt(ended.verdict, ended.message, ended.duration)
        return Result(
            id=check.id,
            level=requirement.level,
            era=requirement.era,
            verdict=ended.verdict,
            title=requirement.title,
            statement=" ".join(requirement.statement.split()),
            observed=" ".join(requirement.observed.split()),
            message=ended.message,
            expected=encodable(violation.expected) if violation else None,
            seen=encodable(violation.seen) if violation else None,
            source=str(source),
            quote=source.quote,
            duration_s=ended.duration,
            evidence=ended.evidence,
            rerun=rerun_line(self.sut, check.id),
            attempts=(*(earlier.attempts if earlier else ()), attempt),
            known=self.baseline.reason_for(check.id, ended.verdict),
            stale=self.baseline.is_stale(check.id, ended.verdict),
        )


@dataclass(frozen=True)
class _Ended:
    """How one attempt ended."""

    verdict: Verdict
    cause: BaseException | None
    message: str
    evidence: Evidence
    duration: float


def _message(failure: BaseException, level: Level) -> str:
    """Every failure; an unexpected exception comes with its traceback."""
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


def rerun_line(sut: Sut, requirement_id: str) -> str:
    """One shell line that runs only this check again."""
    origin = sut.profile.origin
    profile = ["--profile", origin] if origin else []
    command = ["python", "-m", "conformance", "run", "--only", requirement_id, *profile, "--", *sut.command]
    # `{config}` stays readable: no shell expands braces around a single word.
    return " ".join(part if part == "{config}" else shlex.quote(part) for part in command)
