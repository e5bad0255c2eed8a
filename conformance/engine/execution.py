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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio
import msgspec

from conformance.engine.blame import blamed
from conformance.engine.unreached import unless_reached
from conformance.errors import CheckTimeout, HarnessError, Violation
from conformance.model.baseline import Baseline
from conformance.model.evidence import Evidence, encodable
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN
from conformance.model.results import Attempt, Result
from conformance.model.sut import Sut
from conformance.model.verdicts import Level, Verdict, decisive, depends_on_time, judge, leaves
from conformance.workbench.waits import recorded_waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conformance.checks import Check
    from conformance.workbench.workbench import Workbench

#: seconds for the set-up and teardown of one workbench, in addition to the deadline of the check
SETUP_AND_TEARDOWN = 60.0
#: starts of the program in one check: for each of them, the deadline grows by what the profile allows beyond the usual time
STARTS = 3
#: a crash is no matter of time, and a fault of the runner proves nothing
_MAY_DEPEND_ON_TIME = frozenset({Verdict.TIMEOUT, Verdict.FAIL, Verdict.WARN, Verdict.UNTESTABLE})
#: red checks after which the run of a program that never answered anything ends
SILENT_CHECKS = 5


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


@dataclass(frozen=True)
class RunOptions:
    """How the checks of one implementation run."""

    #: multiplies the deadline of every check; may be infinite
    time_scale: float = 1.0
    #: keep the sandbox of every check
    keep: bool = False
    #: None = the known failures of the profile
    baseline: Baseline | None = None
    #: whether a red check that depends on time runs a second time
    second_attempts: bool = True
    #: end the run if the program answers nothing
    early_stop: bool = False
    #: the further options of every rerun line
    rerun_options: Sequence[str] = ()
    #: None = the real one
    open_workbench: WorkbenchFactory | None = None


DEFAULT_OPTIONS = RunOptions()


class Execution:
    """The attempts at the checks of one implementation, and their results."""

    def __init__(
        self,
        sut: Sut,
        options: RunOptions = DEFAULT_OPTIONS,
        *,
        on_event: Callable[[RunEvent], None] = lambda event: None,
    ) -> None:
        self.sut = sut
        self.options = options
        self.on_event = on_event
        self.baseline = options.baseline or Baseline(sut.profile.known)
        self.open_workbench = workbench_factory(options.open_workbench)
        self.results: dict[str, Result] = {}
        #: the version of the implementation, once it has told one
        self.version = ""
        self._has_answered = False
        #: red checks in which the program answered nothing to a client
        self._silent: list[Check] = []

    async def attempt(self, check: Check) -> None:
        """Run the check. The new result replaces an earlier one and keeps its attempts."""
        earlier = self.results.get(check.id)
        self.on_event(AttemptStarted(check, 1 if earlier is None else 2))
        about = check.requirement
        absent = self.sut.profile.reason_for_absence(check.id, about.era, about.reach, about.from_revision)
        if absent is not None:
            ended = _Ended(Verdict.NOT_APPLICABLE, f"declared absent: {absent}")
        else:
            ended = await self._run_check(check)
        result = self._result(check, ended, earlier)
        self.results[check.id] = result
        if earlier is None and ended.answered is False and result.verdict.is_red:
            self._silent.append(check)
        self._has_answered = self._has_answered or bool(ended.answered)
        self.on_event(AttemptFinished(check, result, final=not self.wants_again(check)))

    def wants_again(self, check: Check) -> bool:
        """Whether the check, which has a result, needs a second attempt."""
        result = self.results[check.id]
        return self.options.second_attempts and len(result.attempts) == 1 and result.is_rerun

    def results_of(self, checks: Iterable[Check], *, interrupted: bool) -> tuple[Result, ...]:
        """The results of these checks, as far as they have one. An interruption leaves some without the second attempt that they need."""
        return tuple(
            msgspec.structs.replace(
                self.results[check.id], unrepeated=interrupted and self.wants_again(check)
            )
            for check in checks
            if check.id in self.results
        )

    @property
    def is_silent(self) -> bool:
        """Whether the program answered nothing so far and enough checks are red to end the run."""
        return self.options.early_stop and not self._has_answered and len(self._silent) >= SILENT_CHECKS

    async def confirm_silence(self) -> None:
        """If load can have caused all of the silence, make one second attempt, alone; an answer ends `is_silent`."""
        if all(map(self.wants_again, self._silent)):
            await self.attempt(self._silent[0])

    async def _run_check(self, check: Check) -> _Ended:
        """Never raises an `Exception`: every failure becomes part of the returned value."""
        slow_starts = STARTS * max(0.0, self.sut.profile.starts_within - DEFAULT_STARTS_WITHIN)
        deadline = check.timeout * self.options.time_scale + slow_starts
        began = time.monotonic()
        workbench: Workbench | None = None
        failures: list[BaseException] = []
        duration: float | None = None
        try:
            with anyio.fail_after(deadline + SETUP_AND_TEARDOWN) as outer:
                async with self.open_workbench(self.sut, check.id, keep=self.options.keep) as workbench:
                    check_began = time.monotonic()
                    with recorded_waits() as waits, anyio.move_on_after(deadline) as inner:
                        # Kept aside while the workbench closes, so that a failing teardown cannot hide the failure of the check.
                        try:
                            await check.run(workbench)
                        except Exception as error:
                            failures.append(unless_reached(blamed(error), check.id, workbench))
                    duration = time.monotonic() - check_began
                    if inner.cancelled_caught or (inner.cancel_called and failures):
                        failures.append(CheckTimeout(deadline, waits))
        except Exception as error:
            if outer.cancelled_caught and isinstance(error, TimeoutError):
                error = HarnessError(
                    f"the workbench took longer than {SETUP_AND_TEARDOWN:g} s to open and close"
                )
            failures.append(error)
        if duration is None:
            duration = time.monotonic() - began
        evidence = _evidence_of(workbench, failures)
        answered = workbench.answered if workbench is not None else None
        self.version = self.version or (workbench.version if workbench is not None else "")
        if not failures:
            return _Ended(Verdict.PASS, evidence=evidence, duration=duration, answered=answered)
        failure = (
            failures[0] if len(failures) == 1 else BaseExceptionGroup("the check and its teardown", failures)
        )
        level = self.sut.profile.level_of(check.requirement.level)
        return _Ended(
            judge(level, failure), _message(failure, level), failure, evidence, duration, answered=answered
        )

    def _result(self, check: Check, ended: _Ended, earlier: Result | None) -> Result:
        requirement = check.requirement
        source = requirement.sources[0]
        level = self.sut.profile.level_of(requirement.level)
        cause = decisive(ended.failure, level) if ended.failure is not None else None
        violation = cause if isinstance(cause, Violation) else None
        # A check that measures time closely may see the load of other programs in anything.
        timed = ended.failure is not None and (check.serial or depends_on_time(ended.failure))
        attempt = Attempt(ended.verdict, ended.message, ended.duration)
        return Result(
            id=check.id,
            level=requirement.level,
            counts_as=level if level is not requirement.level else None,
            era=requirement.era,
            reach=requirement.reach,
            verdict=ended.verdict,
            title=requirement.title,
            statement=" ".join(requirement.statement.split()),
            observed=" ".join(requirement.observed.split()),
            message=ended.message,
            expected=encodable(violation.expected) if violation else None,
            seen=encodable(violation.seen) if violation else None,
            source=str(source),
            quote=source.quote,
            further_sources=tuple(encodable(other.whole) for other in requirement.sources[1:]),
            duration_s=ended.duration,
            evidence=ended.evidence,
            rerun=rerun_line(self.sut, check.id, self.options.rerun_options),
            attempts=(*(earlier.attempts if earlier else ()), attempt),
            known=self.baseline.reason_for(check.id, ended.verdict),
            stale=self.baseline.is_stale(check.id, ended.verdict),
            depends_on_time=timed and ended.verdict in _MAY_DEPEND_ON_TIME,
        )


@dataclass(frozen=True)
class _Ended:
    """How one attempt ended."""

    verdict: Verdict
    message: str = ""
    failure: BaseException | None = None
    evidence: Evidence = field(default_factory=Evidence)
    duration: float = 0.0
    #: whether the program sent a message to a client; None if there was no client
    answered: bool | None = None


def _message(failure: BaseException, level: Level) -> str:
    """Every failure; an unexpected exception comes with its traceback."""
    parts = []
    for leaf in leaves(failure):
        if judge(level, leaf) is Verdict.HARNESS_ERROR:
            parts.append("".join(traceback.format_exception(leaf)).rstrip())
        else:
            parts.append(str(leaf) or type(leaf).__name__)
    return encodable("\n".join(dict.fromkeys(parts)))


def _evidence_of(workbench: Workbench | None, failures: list[BaseException]) -> Evidence:
    if workbench is None:
        return Evidence()
    try:
        return workbench.evidence
    except Exception as error:
        failures.append(error)
        return Evidence()


def rerun_line(sut: Sut, requirement_id: str, options: Sequence[str] = ()) -> str:
    """One shell line that runs only this check again, with the same profile and these options."""
    origin = sut.profile.origin
    chosen = ["--only", requirement_id, *(["--profile", origin] if origin else []), *options]
    command = ["python", "-m", "conformance", "run", *chosen, "--", *sut.command]
    # `{config}` stays readable: no shell expands braces around a single word.
    return " ".join(part if part == "{config}" else shlex.quote(part) for part in command)
