"""The runner against fake workbenches: verdicts, order, bounds, second attempts, interruption."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from conformance.checks import make_check
from conformance.checks.loading import load_checks
from conformance.engine.execution import (
    SILENT_CHECKS,
    AttemptFinished,
    AttemptStarted,
    RunEvent,
    RunOptions,
    rerun_line,
)
from conformance.engine.longest import LONGEST
from conformance.engine.runner import run
from conformance.errors import CheckTimeout, HarnessError, ImplementationCrashed, Untestable, Violation
from conformance.model.profile import Profile
from conformance.model.results import NO_ANSWER
from conformance.model.sut import Sut
from conformance.model.verdicts import Level, Verdict
from conformance.workbench.judgement import Judgement
from conformance.workbench.polling import eventually
from tests.conformance.fakes import MAY, MUST, SHOULD, FakeFactory, fake_sut, passing, raising

if TYPE_CHECKING:
    from conformance.checks import Check
    from conformance.model.results import Result, RunReport

VIOLATION = Violation("an answer", "silence")
LATE = Violation("an answer within 5 s", "silence")


async def run_fake(*checks: Check, factory: FakeFactory | None = None, **options: Any) -> RunReport:
    of_run = {name: options.pop(name) for name in ("jobs", "on_event") if name in options}
    sut = options.pop("sut", fake_sut())
    with anyio.fail_after(20):
        return await run(
            sut, checks, RunOptions(open_workbench=factory or FakeFactory(), **options), **of_run
        )


async def result_of(check: Check, **options: Any) -> Result:
    (result,) = (await run_fake(check, **options)).results
    return result


async def test_a_check_that_returns_passes_with_its_evidence() -> None:
    result = await result_of(passing())
    assert result.verdict is Verdict.PASS
    assert result.message == ""
    assert result.evidence.stderr_tail == "a line on stderr"
    assert len(result.attempts) == 1


async def test_a_violation_of_a_must_fails_with_expected_and_seen() -> None:
    result = await result_of(raising(VIOLATION))
    assert (result.verdict, result.expected, result.seen) == (Verdict.FAIL, "an answer", "silence")
    assert result.message == "expected: an answer\nseen: silence"


async def test_a_doc_warns_for_a_program_that_is_no_dynamic_mcp_proxy() -> None:
    sut = fake_sut(Profile("fake", face="flat"))
    result = await result_of(raising(VIOLATION, "CFG-001"), sut=sut)
    assert (result.verdict, result.is_failure(), result.is_failure(strict=True)) == (
        Verdict.WARN,
        False,
        True,
    )
    assert (result.level, result.counts_as, result.level_text) == (Level.DOC, Level.SHOULD, "DOC as SHOULD")


@pytest.mark.parametrize("requirement_id", [SHOULD, MAY])
async def test_a_late_violation_of_a_should_or_may_warns_and_is_retried(requirement_id: str) -> None:
    result = await result_of(raising(LATE, requirement_id))
    assert result.verdict is Verdict.WARN
    assert [attempt.verdict for attempt in result.attempts] == [Verdict.WARN, Verdict.WARN]


@pytest.mark.parametrize(
    "error",
    [VIOLATION, Untestable("there is no tool"), ImplementationCrashed("an answer within 5 s", "SIGSEGV")],
)
async def test_a_failure_that_does_not_depend_on_time_is_not_retried(error: Exception) -> None:
    result = await result_of(raising(error))
    assert (len(result.attempts), result.depends_on_time) == (1, False)


async def test_a_check_that_measures_time_closely_is_retried_after_any_failure() -> None:
    result = await result_of(raising(VIOLATION, serial=True))
    assert (len(result.attempts), result.depends_on_time) == (2, True)


async def test_a_check_times_out_at_its_deadline() -> None:
    result = await result_of(make_check(hang, MUST, timeout=0.05))
    assert result.verdict is Verdict.TIMEOUT
    assert "0.05 s" in result.message


async def test_a_timeout_names_what_the_check_waited_for() -> None:
    async def waits(workbench: Any) -> None:
        async def never() -> None:
            await eventually(lambda: False, within=60, what="the upstream has the call")

        with Judgement().case("a slow call"):
            await Judgement().run_cases(never)

    result = await result_of(make_check(waits, MUST, timeout=0.05))
    assert result.message.endswith(
        "within 0.05 s; it waited for: the upstream has the call; the case 'never'; the case 'a slow call'"
    )


@pytest.mark.parametrize("requirement_id", [SHOULD, MAY])
@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (CheckTimeout(20), Verdict.TIMEOUT),
        (Untestable("no upstream"), Verdict.UNTESTABLE),
        (ImplementationCrashed("alive", "SIGSEGV"), Verdict.CRASH),
    ],
)
async def test_what_is_not_required_fails_only_a_strict_run(
    requirement_id: str, error: Exception, verdict: Verdict
) -> None:
    result = await result_of(raising(error, requirement_id))
    assert result.verdict is verdict
    assert (result.is_failure(), result.is_failure(strict=True)) == (False, True)
    required = await result_of(raising(error, MUST))
    assert required.is_failure()


async def test_a_fault_of_the_runner_fails_the_run_at_any_level() -> None:
    result = await result_of(raising(OSError("a bug"), MAY))
    assert (result.verdict, result.is_failure()) == (Verdict.HARNESS_ERROR, True)


@pytest.mark.parametrize(
    ("requirement_id", "verdict"), [("OAUTH-008", Verdict.UNTESTABLE), ("HTTP-006", Verdict.FAIL)]
)
async def test_a_sign_in_that_never_began_is_untestable(requirement_id: str, verdict: Verdict) -> None:
    async def fails(workbench: Any) -> None:
        workbench.began_no_sign_in = True
        raise VIOLATION

    assert (await result_of(make_check(fails, requirement_id))).verdict is verdict


@pytest.mark.parametrize(
    ("requirement_id", "contacted", "verdict"),
    [
        ("HTTP-006", False, Verdict.UNTESTABLE),
        ("HTTP-006", True, Verdict.FAIL),
        ("HTTP-014", False, Verdict.FAIL),
        ("CFG-001", False, Verdict.FAIL),
    ],
)
async def test_a_server_that_was_never_contacted_is_untestable(
    requirement_id: str, contacted: bool, verdict: Verdict
) -> None:
    async def fails(workbench: Any) -> None:
        workbench.contacted_no_remote = not contacted
        raise VIOLATION

    result = await result_of(make_check(fails, requirement_id))
    assert result.verdict is verdict
    assert "expected: an answer\nseen: silence" in result.message
    assert ("[absent]" in result.message) == (verdict is Verdict.UNTESTABLE)


async def test_the_time_scale_stretches_the_deadline() -> None:
    async def takes_a_while(workbench: Any) -> None:
        await anyio.sleep(0.2)

    result = await result_of(make_check(takes_a_while, MUST, timeout=0.02), time_scale=500)
    assert result.verdict is Verdict.PASS


async def test_a_profile_with_a_slow_start_stretches_the_deadline() -> None:
    async def takes_a_while(workbench: Any) -> None:
        await anyio.sleep(0.2)

    slow = fake_sut(Profile("slow", starts_within=8.0))
    result = await result_of(make_check(takes_a_while, MUST, timeout=0.02), sut=slow)
    assert result.verdict is Verdict.PASS


async def test_a_violation_after_the_deadline_does_not_hide_the_timeout() -> None:
    async def complains_late(workbench: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise VIOLATION

    result = await result_of(make_check(complains_late, MUST, timeout=0.05))
    assert result.verdict is Verdict.TIMEOUT
    assert "seen: silence" in result.message


async def test_a_violation_in_a_task_group_is_a_violation() -> None:
    async def with_tasks(workbench: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            raise VIOLATION

    result = await result_of(make_check(with_tasks, MUST))
    assert (result.verdict, result.seen) == (Verdict.FAIL, "silence")


async def test_a_crash_is_a_crash() -> None:
    assert (await result_of(raising(ImplementationCrashed("alive", "SIGSEGV")))).verdict is Verdict.CRASH


async def test_an_unexpected_exception_is_a_harness_error_with_a_traceback() -> None:
    result = await result_of(raising(ZeroDivisionError("oops")))
    assert result.verdict is Verdict.HARNESS_ERROR
    assert "fakes.py" in result.message
    assert len(result.attempts) == 1


async def test_a_workbench_that_does_not_open_is_a_harness_error() -> None:
    class Broken(FakeFactory):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise HarnessError("no room")

    assert (await result_of(passing(), factory=Broken())).verdict is Verdict.HARNESS_ERROR


async def test_a_red_check_is_retried_after_all_others() -> None:
    calls: list[str] = []

    async def fails_at_first(workbench: Any) -> None:
        calls.append(workbench.check_id)
        if len(calls) == 1:
            raise LATE

    async def records(workbench: Any) -> None:
        calls.append(workbench.check_id)

    flaky = make_check(fails_at_first, "CFG-001")
    serial = make_check(records, "CFG-003", serial=True)
    report = await run_fake(flaky, make_check(records, "CFG-002"), serial, jobs=1)
    assert calls == ["CFG-001", "CFG-002", "CFG-003", "CFG-001"]
    assert report.results[0].verdict is Verdict.PASS
    assert [attempt.verdict for attempt in report.results[0].attempts] == [Verdict.FAIL, Verdict.PASS]
    assert report.summary.rerun == 1


async def test_slow_checks_start_first_and_the_longest_of_them_first() -> None:
    factory = FakeFactory()
    checks = (
        passing("CFG-001"),
        passing("CFG-002", slow=True, timeout=30),
        passing("CFG-003"),
        passing("CFG-004", slow=True, timeout=60),
    )
    report = await run_fake(*checks, factory=factory, jobs=1)
    assert factory.opened == ["CFG-004", "CFG-002", "CFG-001", "CFG-003"]
    assert [result.id for result in report.results] == ["CFG-001", "CFG-002", "CFG-003", "CFG-004"]


@pytest.mark.parametrize(("slow", "most"), [(False, 3), (True, 6)])
async def test_at_most_jobs_checks_run_at_once_and_serial_ones_in_pairs(slow: bool, most: int) -> None:
    factory = FakeFactory()
    serial_saw: list[int] = []

    async def yields(workbench: Any) -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()

    async def count_open(workbench: Any) -> None:
        await anyio.lowlevel.checkpoint()
        serial_saw.append(len(factory.opened) - len(factory.closed))

    checks = [make_check(yields, f"CFG-{number:03}", slow=slow) for number in range(1, 11)]
    serial = [make_check(count_open, f"CFG-{number:03}", serial=True) for number in range(11, 15)]
    await run_fake(*checks, *serial, factory=factory, jobs=3)
    assert factory.most_at_once == most
    assert max(serial_saw) == 2
    assert set(factory.opened[-4:]) == {check.id for check in serial}


async def test_a_check_that_takes_very_long_starts_before_one_with_a_longer_deadline() -> None:
    factory = FakeFactory()
    last = LONGEST[-1]
    await run_fake(
        passing("CFG-002", slow=True, timeout=900), passing(last, slow=True), factory=factory, jobs=1
    )
    assert factory.opened == [last, "CFG-002"]


def test_the_longest_checks_exist_and_are_slow() -> None:
    checks = load_checks()
    assert [id_ for id_ in LONGEST if not checks[id_].slow] == []
    assert len(set(LONGEST)) == len(LONGEST)


async def test_slow_checks_do_not_take_the_places_of_quick_ones() -> None:
    ended = anyio.Event()

    async def waits(workbench: Any) -> None:
        with anyio.fail_after(5):
            await ended.wait()

    async def ends_the_wait(workbench: Any) -> None:
        ended.set()

    slow = [make_check(waits, f"CFG-{number:03}", slow=True) for number in (1, 2)]
    report = await run_fake(*slow, make_check(ends_the_wait, "CFG-003"), jobs=2)
    assert [result.verdict for result in report.results] == [Verdict.PASS] * 3


async def test_an_absent_requirement_does_not_run() -> None:
    factory = FakeFactory()
    profile = Profile("fake", absent={"CFG": "has no configuration"})
    result = await result_of(raising(VIOLATION), factory=factory, sut=fake_sut(profile))
    assert result.verdict is Verdict.NOT_APPLICABLE
    assert "has no configuration" in result.message
    assert factory.opened == []


async def test_a_run_without_checks_is_complete() -> None:
    report = await run_fake()
    assert (report.summary.executed, report.complete) == (0, True)


async def test_the_report_has_its_start_and_families() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    report = await run_fake(passing(MUST), passing(MAY))
    assert before <= datetime.fromisoformat(report.started) <= datetime.now(UTC)
    assert report.started.endswith("Z")
    assert list(report.families) == ["CFG", "HARD"]
    assert report.results[0].observed
    assert report.version == "1.2.3"


async def test_events_report_the_start_and_end_of_every_attempt() -> None:
    events: list[RunEvent] = []
    await run_fake(raising(Untestable("no answer within 5 s")), on_event=events.append)
    kinds = [(type(event), getattr(event, "final", None)) for event in events]
    assert kinds == [
        (AttemptStarted, None),
        (AttemptFinished, False),
        (AttemptStarted, None),
        (AttemptFinished, True),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_run_with_an_incomplete_report(number: int) -> None:
    factory = FakeFactory()

    async def interrupt(workbench: Any) -> None:
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()

    report = await run_fake(passing("CFG-001"), make_check(interrupt, "CFG-002"), factory=factory, jobs=1)
    assert not report.complete
    assert report.stopped_by == signal.Signals(number).name
    assert [result.id for result in report.results] == ["CFG-001"]
    assert report.not_run == ("CFG-002",)
    assert factory.closed == factory.opened


async def test_an_interruption_before_the_second_attempt_leaves_a_result_that_is_not_final() -> None:
    async def interrupt(workbench: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    late, wrong = raising(LATE, "FRONT-002"), raising(VIOLATION, "FRONT-003")
    report = await run_fake(late, wrong, make_check(interrupt, "FRONT-004", serial=True))
    assert [(one.id, one.unrepeated, one.is_failure()) for one in report.results] == [
        ("FRONT-002", True, False),
        ("FRONT-003", False, True),
    ]
    assert (report.summary.failures, report.summary.unrepeated) == (1, 1)
    assert report.unproved == {"FRONT-002", "FRONT-003", "FRONT-004"}


async def test_without_an_interruption_every_result_is_final() -> None:
    assert not (await result_of(raising(LATE))).unrepeated
    assert not (await result_of(raising(LATE), second_attempts=False)).unrepeated


def test_the_rerun_line_can_be_pasted() -> None:
    profile = Profile("mine", origin="my profile.toml")
    sut = Sut("mine", ("/opt/my proxy", "{config}"), profile)
    expected = (
        "python -m conformance run --only CFG-001 --profile 'my profile.toml' -- '/opt/my proxy' {config}"
    )
    assert rerun_line(sut, "CFG-001") == expected
    again = rerun_line(sut, "CFG-001", ["--baseline", "my known.toml"])
    assert again == expected.replace(" -- ", " --baseline 'my known.toml' -- ")


def silent(error: Exception, number: int, answers: list[bool | None]) -> Check:
    """A check that fails, and whose program answers its client as the next of `answers` says."""

    async def hears_nothing(workbench: Any) -> None:
        workbench.answered = answers.pop(0) if answers else False
        if not workbench.answered:
            raise error

    return make_check(hears_nothing, f"CFG-{number:03}")


ENDED = Untestable("no answer to initialize: exit status 1")


async def run_silent(error: Exception, answers: list[bool | None], **options: Any) -> RunReport:
    checks = [silent(error, number, answers) for number in range(1, 13)]
    return await run_fake(*checks, jobs=1, **{"early_stop": True, **options})


async def test_a_program_that_answers_nothing_ends_the_run_early() -> None:
    report = await run_silent(ENDED, [])
    assert (len(report.results), len(report.not_run)) == (SILENT_CHECKS, 12 - SILENT_CHECKS)
    assert (report.complete, report.stopped_by, report.summary.rerun) == (False, NO_ANSWER, 0)


async def test_one_answer_is_enough_to_go_on() -> None:
    report = await run_silent(ENDED, [False, False, True])
    assert (len(report.results), report.complete, report.stopped_by) == (12, True, "")


@pytest.mark.parametrize("answers", [[None] * 24, []])
async def test_no_early_stop_without_a_client_or_against_the_option(answers: list[bool | None]) -> None:
    report = await run_silent(ENDED, answers, early_stop=bool(answers))
    assert (len(report.results), report.complete) == (12, True)


@pytest.mark.parametrize(
    ("answers", "complete"), [([], False), ([False] * SILENT_CHECKS + [True] * 12, True)]
)
async def test_a_slow_program_gets_one_more_chance_alone(answers: list[bool | None], complete: bool) -> None:
    report = await run_silent(Violation("an answer", "none", timed=True), answers)
    assert report.complete is complete
    assert report.results[0].attempts[1:], "a second attempt"


async def hang(workbench: Any) -> None:
    await anyio.sleep_forever()
