"""The kill matrix: the selection of trials, the outcome of each, and what the command reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from conformance.checks import Check, make_check
from conformance.cli import main as conformance
from conformance.errors import CheckTimeout, UsageError, Violation
from conformance.model.evidence import Evidence
from conformance.model.registry import Registry
from conformance.model.results import Attempt, Result
from conformance.model.verdicts import Verdict
from conformance.mutants import Legitimate, Mutant
from conformance.mutation import null_programs
from conformance.mutation.matrix import MatrixCell, Outcome, cell_of, stack_trace_in
from conformance.mutation.plan import Against, ProgramKind, Trial, select, sut_of
from conformance.mutation.run import main
from tests.conformance.fakes import MUST, SHOULD, FakeFactory, FakeWorkbench, checks_of, passing, raising

if TYPE_CHECKING:
    from pathlib import Path

VIOLATION = Violation("an answer", "silence")
TRACE = """2026-01-01 something else
Traceback (most recent call last):
  File "x.py", line 3, in wrong
    right(self)
TypeError: wrong() takes 1 positional argument
and more"""
#: how the bundled proxy reports an exception, without its text
BUG = 'group a: internal error KeyError\n  File "x.py", line 3\n'


def mutant(name: str = "is-wrong", kills: str = MUST, **declared: Any) -> Mutant:
    return Mutant(name, kills, lambda: None, declared.get("also", {}), declared.get("crashes", False))


def judged(
    kind: ProgramKind, declared: str | None, verdict: Verdict, stderr: str = "", *, crashes: bool = False
) -> MatrixCell:
    """The cell of a trial with this verdict."""
    check = passing()
    result = Result(
        id=check.id,
        level=check.requirement.level,
        era=check.requirement.era,
        verdict=verdict,
        title="",
        statement="",
        observed="",
        message="",
        expected=None,
        seen=None,
        source="",
        quote=None,
        duration_s=1.0,
        evidence=Evidence(),
        rerun="",
        attempts=(Attempt(verdict, "", 1.0),),
    )
    trial = Trial("x", kind, check, declared, own=declared == "its own", crashes=crashes)
    return cell_of(trial, result, stderr)


class TestOutcome:
    @pytest.mark.parametrize(
        ("declared", "verdict", "outcome"),
        [
            ("its own", Verdict.FAIL, Outcome.KILLED),
            ("its own", Verdict.WARN, Outcome.KILLED),
            ("its own", Verdict.PASS, Outcome.SURVIVED),
            ("its own", Verdict.UNTESTABLE, Outcome.WRONG_DEATH),
            ("its own", Verdict.TIMEOUT, Outcome.WRONG_DEATH),
            ("its own", Verdict.CRASH, Outcome.WRONG_DEATH),
            ("its own", Verdict.HARNESS_ERROR, Outcome.UNKNOWN),
            ("in the way", Verdict.FAIL, Outcome.KILLED),
            ("in the way", Verdict.UNTESTABLE, Outcome.KILLED),
            ("in the way", Verdict.PASS, Outcome.SURVIVED),
            (None, Verdict.PASS, Outcome.HELD),
            (None, Verdict.FAIL, Outcome.UNDECLARED),
            (None, Verdict.CRASH, Outcome.UNDECLARED),
            (None, Verdict.NOT_APPLICABLE, Outcome.HELD),
            ("its own", Verdict.NOT_APPLICABLE, Outcome.WRONG_DEATH),
        ],
    )
    def test_of_a_mutant(self, declared: str | None, verdict: Verdict, outcome: Outcome) -> None:
        assert judged(ProgramKind.MUTANT, declared, verdict).outcome is outcome

    @pytest.mark.parametrize(
        ("declared", "verdict", "outcome"),
        [
            (None, Verdict.PASS, Outcome.VACUOUS),
            (None, Verdict.UNTESTABLE, Outcome.NOT_PASSED),
            (None, Verdict.TIMEOUT, Outcome.NOT_PASSED),
            (None, Verdict.NOT_APPLICABLE, Outcome.NOT_PASSED),
            (None, Verdict.HARNESS_ERROR, Outcome.UNKNOWN),
            ("it only listens", Verdict.PASS, Outcome.EXCUSED),
            ("it only listens", Verdict.FAIL, Outcome.STALE),
        ],
    )
    def test_of_a_null_program(self, declared: str | None, verdict: Verdict, outcome: Outcome) -> None:
        assert judged(ProgramKind.NULL_PROGRAM, declared, verdict, TRACE).outcome is outcome

    @pytest.mark.parametrize(
        ("verdict", "outcome"),
        [
            (Verdict.PASS, Outcome.HELD),
            (Verdict.WARN, Outcome.HELD),
            (Verdict.NOT_APPLICABLE, Outcome.HELD),
            (Verdict.FAIL, Outcome.UNFAIR),
            (Verdict.UNTESTABLE, Outcome.UNFAIR),
            (Verdict.CRASH, Outcome.UNFAIR),
            (Verdict.HARNESS_ERROR, Outcome.UNKNOWN),
        ],
    )
    def test_of_a_legitimate_design(self, verdict: Verdict, outcome: Outcome) -> None:
        assert judged(ProgramKind.LEGITIMATE, None, verdict).outcome is outcome

    @pytest.mark.parametrize(
        ("verdict", "outcome"),
        [
            (Verdict.PASS, Outcome.HELD),
            (Verdict.WARN, Outcome.UNFAIR),
            (Verdict.NOT_APPLICABLE, Outcome.UNFAIR),
        ],
    )
    def test_of_a_legitimate_design_that_must_pass(self, verdict: Verdict, outcome: Outcome) -> None:
        assert judged(ProgramKind.LEGITIMATE, "must pass", verdict).outcome is outcome

    def test_a_kill_with_a_stack_trace_is_broken(self) -> None:
        broken = judged(ProgramKind.MUTANT, "its own", Verdict.FAIL, TRACE)
        assert (broken.outcome, "takes 1 positional" in broken.stack_trace) == (Outcome.BROKEN, True)

    @pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.CRASH])
    def test_a_mutant_that_declares_to_crash_may_write_a_stack_trace(self, verdict: Verdict) -> None:
        assert judged(ProgramKind.MUTANT, "its own", verdict, TRACE, crashes=True).outcome is Outcome.KILLED

    def test_every_outcome_that_was_not_declared_is_a_gap(self) -> None:
        fine = {outcome for outcome in Outcome if not outcome.is_gap}
        assert fine == {Outcome.KILLED, Outcome.HELD, Outcome.NOT_PASSED, Outcome.EXCUSED}

    @pytest.mark.parametrize(
        "stderr", [TRACE, "  + Exception Group Traceback (most recent call last):\n  |", BUG]
    )
    def test_a_stack_trace_is_found_in_all_its_forms(self, stderr: str) -> None:
        found = stack_trace_in(f"12:00 WARN a word before\n{stderr}")
        assert found
        assert stderr.endswith(found)

    def test_an_error_message_is_no_stack_trace(self) -> None:
        assert stack_trace_in("ERROR group a: cannot be started: No such file") == ""


CHECKS = checks_of(passing("CFG-001"), passing("CFG-002", slow=True), passing("CFG-003"), passing("STD-001"))
MUTANTS = {
    one.name: one
    for one in (
        mutant("finds-it", "CFG-001", also={"STD-001": "reason"}),
        mutant("loses-it", "CFG-003"),
        mutant("runs-it", "STD-001"),
    )
}


class TestSelection:
    def selected(
        self, *selectors: str, against: Against = Against.OWN, one_each: bool = False
    ) -> list[tuple[str, str]]:
        found = select(selectors, MUTANTS, CHECKS, Registry.load(), against, one_each=one_each)
        return [(one.program, one.check.id) for one in found]

    def test_without_a_selector_all_programs_are_selected(self) -> None:
        found = self.selected()
        assert found[:4] == [
            ("finds-it", "CFG-001"),
            ("finds-it", "STD-001"),
            ("loses-it", "CFG-003"),
            ("runs-it", "STD-001"),
        ]
        assert found[4:] == [(name, id_) for name in null_programs.NULL_PROGRAMS for id_ in CHECKS]

    def test_a_requirement_selects_its_mutants_and_the_null_programs_against_its_check(self) -> None:
        assert self.selected("std") == [
            ("runs-it", "STD-001"),
            *((name, "STD-001") for name in null_programs.NULL_PROGRAMS),
        ]

    def test_a_name_or_a_glob_selects_programs(self) -> None:
        assert self.selected("loses-it") == [("loses-it", "CFG-003")]
        assert {program for program, _ in self.selected("*-it")} == {"finds-it", "loses-it", "runs-it"}
        assert self.selected("hangs") == [("hangs", id_) for id_ in CHECKS]
        for word in ("Null-Programs", "impostors"):
            assert {program for program, _ in self.selected(word)} == set(null_programs.NULL_PROGRAMS)

    def test_against_family_leaves_out_slow_checks_and_against_all_does_not(self) -> None:
        assert self.selected("finds-it", against=Against.FAMILY) == [
            ("finds-it", "CFG-001"),
            ("finds-it", "STD-001"),
            ("finds-it", "CFG-003"),
        ]
        assert {id_ for _, id_ in self.selected("loses-it", against=Against.ALL)} == set(CHECKS)

    @pytest.mark.parametrize(
        ("selectors", "against", "ids"),
        [
            (["legitimate"], Against.OWN, ["CFG-001"]),
            (["is-different"], Against.FAMILY, ["CFG-001", "CFG-003"]),
            (["is-different"], Against.ALL, ["CFG-001", "CFG-002", "CFG-003", "STD-001"]),
            (["STD-001"], Against.ALL, ["STD-001"]),
        ],
    )
    def test_a_design_meets_the_checks_that_it_touches(
        self, selectors: list[str], against: Against, ids: list[str]
    ) -> None:
        design = Legitimate("is-different", lambda: None, (), 'tokens.place = "x"', ("CFG-001",))
        found = select(selectors, MUTANTS, CHECKS, Registry.load(), against, designs={design.name: design})
        of_design = [trial for trial in found if trial.kind is ProgramKind.LEGITIMATE]
        assert [trial.check.id for trial in of_design] == ids
        assert [trial.check.id for trial in of_design if trial.declared] == (
            ["CFG-001"] if "CFG-001" in ids else []
        )
        sut = sut_of(of_design[0])
        assert (sut.name, sut.profile.token_file, sut.profile.promises) == ("is-different", "x", frozenset())

    def test_a_mistake_in_a_design_runs_with_the_profile_of_the_design(self) -> None:
        design = Legitimate("is-different", lambda: None, (), 'tokens.place = "x"')
        wrong = Mutant("is-wrong", "CFG-001", lambda: None, {}, crashes=False, design=design)
        (trial,) = select(["is-wrong"], {wrong.name: wrong}, CHECKS, Registry.load(), Against.OWN)
        sut = sut_of(trial)
        assert (trial.own, sut.name, sut.profile.token_file) == (True, "is-wrong", "x")

    def test_one_each_is_the_first_mutant_of_every_requirement_and_no_null_program(self) -> None:
        more = {**MUTANTS, "loses-more": mutant("loses-more", "CFG-003")}
        found = select([], more, CHECKS, Registry.load(), Against.OWN, one_each=True)
        assert [one.program for one in found if one.own] == ["finds-it", "loses-it", "runs-it"]
        found = select(["loses-more"], more, CHECKS, Registry.load(), Against.OWN, one_each=True)
        assert [one.program for one in found] == ["loses-more"]
        with pytest.raises(UsageError, match="no known-bad proxy"):
            self.selected("null-programs", one_each=True)

    def test_one_each_against_family_runs_the_quick_checks_of_the_family(self) -> None:
        assert self.selected("finds-it", one_each=True) == [("finds-it", "CFG-001")]
        assert self.selected("finds-it", one_each=True, against=Against.FAMILY) == [
            ("finds-it", "CFG-001"),
            ("finds-it", "STD-001"),
            ("finds-it", "CFG-003"),
        ]

    def test_a_selector_that_matches_nothing_is_refused(self) -> None:
        with pytest.raises(UsageError, match="lose-it"):
            self.selected("lose-it")


def judge(*words: str, mutants: list[Mutant], checks: list[Check], factory: Any = None) -> int:
    """The exit status of the command, without null programs."""
    names = [one.name for one in mutants]
    return main(
        [*words, *names],
        mutants={one.name: one for one in mutants},
        checks=checks_of(*checks),
        open_workbench=factory or FakeFactory(),
    )


class TestTheCommand:
    def test_0_when_every_mutant_is_killed_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        factory = FakeFactory()
        checks = [raising(VIOLATION, MUST), raising(VIOLATION, SHOULD)]
        assert judge(mutants=[mutant(), mutant("warns", SHOULD)], checks=checks, factory=factory) == 0
        assert factory.opened == [MUST, SHOULD]
        output = capsys.readouterr().out
        assert "2 programs, 2 trials: 2 killed" in output
        assert "expected: an answer seen: silence" in output

    def test_1_for_a_survivor(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert judge(mutants=[mutant()], checks=[passing()]) == 1
        assert "CFG-001 is-wrong: survived, pass" in capsys.readouterr().out

    def test_1_for_a_mutant_that_died_of_something_else_twice(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        late = raising(CheckTimeout(3))
        assert judge(mutants=[mutant()], checks=[late]) == 1
        assert "is-wrong: died of something else (retried), timeout" in capsys.readouterr().out

    def test_1_for_an_undeclared_kill_and_0_when_it_is_declared(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checks = [raising(VIOLATION), raising(VIOLATION, "CFG-002")]
        assert judge("--against=all", mutants=[mutant()], checks=checks) == 1
        assert "CFG-002 is-wrong: undeclared kill" in capsys.readouterr().out
        assert judge("--against=all", mutants=[mutant(also={"CFG-002": "the reason"})], checks=checks) == 0
        assert (
            judge(
                mutants=[mutant(also={"CFG-002": "an outdated reason"})],
                checks=[checks[0], passing("CFG-002")],
            )
            == 1
        )

    def test_1_for_a_kill_with_a_stack_trace(self, capsys: pytest.CaptureFixture[str]) -> None:
        async def fails_with_a_trace(workbench: FakeWorkbench) -> None:
            workbench.stderr = TRACE
            raise VIOLATION

        checks = [make_check(fails_with_a_trace, MUST)]  # type: ignore[arg-type]  # a fake
        assert judge(mutants=[mutant()], checks=checks) == 1
        assert "TypeError: wrong() takes 1" in capsys.readouterr().out
        assert judge(mutants=[mutant(crashes=True)], checks=checks) == 0

    @pytest.mark.parametrize(("words", "stops"), [(["--one-each"], True), ([], False)])
    def test_one_each_needs_one_broken_case_only(self, words: list[str], stops: bool) -> None:
        told = []

        async def remembers(workbench: Any) -> None:
            told.append(workbench.stops_at_first_violation)
            raise VIOLATION

        assert judge(*words, mutants=[mutant()], checks=[make_check(remembers, MUST)]) == 0
        assert told == [stops]

    @pytest.mark.parametrize(("size", "ran"), [(2, 2), (4, 4), (9, 4)])
    def test_a_sample_runs_that_many_of_the_trials(
        self, capsys: pytest.CaptureFixture[str], size: int, ran: int
    ) -> None:
        checks = checks_of(*(raising(VIOLATION, f"CFG-00{number}") for number in (1, 2, 3, 4)))
        words = ["hangs", f"--sample={size}"]
        assert main(words, mutants={}, checks=checks, open_workbench=FakeFactory()) == 0
        output = capsys.readouterr().out
        assert f"{ran} trials: {ran} not passed" in output
        assert ("by chance" in output) == (size < 4)

    def test_3_when_the_harness_breaks(self) -> None:
        assert judge(mutants=[mutant()], checks=[raising(KeyError("x"))]) == 3

    @pytest.mark.parametrize(
        "words", [["--jobs=0"], ["--sample=0"], ["--report=json=/no/such/folder/x"], ["--report=html=x"]]
    )
    def test_wrong_usage_is_refused(self, words: list[str]) -> None:
        with pytest.raises(UsageError, match=words[0].partition("=")[0]):
            judge(*words, mutants=[mutant()], checks=[passing()])

    def test_a_null_program_that_passes_is_a_gap(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks = checks_of(passing(), raising(VIOLATION, "CFG-002"))
        assert main(["hangs"], mutants={}, checks=checks, open_workbench=FakeFactory()) == 1
        output = capsys.readouterr().out
        assert "CFG-001 hangs: vacuous pass, pass" in output
        assert "2 trials: 1 not passed, 1 vacuous pass" in output

    def test_the_matrix_as_json(self, tmp_path: Path) -> None:
        path = tmp_path / "matrix.json"
        assert judge(f"--report=json={path}", mutants=[mutant()], checks=[raising(VIOLATION)]) == 0
        document = json.loads(path.read_text())
        (one,) = document["cells"]
        assert document["counts"]["killed"] == 1
        assert (one["program"], one["id"], one["worth"], one["attempts"]) == (
            "is-wrong",
            MUST,
            "killed",
            ["fail"],
        )

    def test_the_list_says_what_is_declared(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert (
            judge(
                "--list",
                mutants=[mutant(also={"CFG-002": "the reason"})],
                checks=[passing(), passing("CFG-002")],
            )
            == 0
        )
        assert capsys.readouterr().out.splitlines() == [
            "CFG-001   is-wrong: its own",
            "CFG-002   is-wrong: the reason",
        ]

    def test_it_is_a_verb_of_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert conformance(["mutants", "--list", "CFG-011"]) == 0
        assert "is-silent-about-undefined-variables: its own" in capsys.readouterr().out
        assert conformance(["mutants", "CFG-999"]) == 2
