"""The kill matrix: who meets whom, what a meeting is worth, and what the command says about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from conformance.checks import Check, make_check
from conformance.cli import main as conformance
from conformance.errors import ImplementationCrashed, UsageError, Violation
from conformance.model.evidence import Evidence
from conformance.model.registry import Registry
from conformance.model.results import Attempt, Result
from conformance.model.verdicts import Verdict
from conformance.mutants import Mutant
from conformance.mutation import null_programs
from conformance.mutation.matrix import Cell, Worth, cell, stack_trace_in
from conformance.mutation.plan import Against, Meeting, select
from conformance.mutation.run import main
from conformance.workbench.census import Census
from conformance.workbench.sandbox import TOKEN_VARIABLE
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
#: how the bundled proxy reports an exception, whose text it keeps to itself
BUG = 'group a: internal error KeyError\n  File "x.py", line 3\n'


def mutant(name: str = "is-wrong", kills: str = MUST, **declared: Any) -> Mutant:
    return Mutant(name, kills, lambda: None, declared.get("also", {}), declared.get("crashes", False))


def met(
    kind: str, declared: str | None, verdict: Verdict, stderr: str = "", *, crashes: bool = False
) -> Cell:
    """The cell of a meeting with this outcome."""
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
    meeting = Meeting("x", kind, check, declared, own=declared == "its own", crashes=crashes)
    return cell(meeting, result, stderr)


class TestWorth:
    @pytest.mark.parametrize(
        ("declared", "verdict", "worth"),
        [
            ("its own", Verdict.FAIL, Worth.KILLED),
            ("its own", Verdict.WARN, Worth.KILLED),
            ("its own", Verdict.PASS, Worth.SURVIVED),
            ("its own", Verdict.UNTESTABLE, Worth.WRONG_DEATH),
            ("its own", Verdict.TIMEOUT, Worth.WRONG_DEATH),
            ("its own", Verdict.CRASH, Worth.WRONG_DEATH),
            ("its own", Verdict.HARNESS_ERROR, Worth.UNKNOWN),
            ("in the way", Verdict.FAIL, Worth.KILLED),
            ("in the way", Verdict.UNTESTABLE, Worth.KILLED),
            ("in the way", Verdict.PASS, Worth.SURVIVED),
            (None, Verdict.PASS, Worth.HELD),
            (None, Verdict.FAIL, Worth.UNDECLARED),
            (None, Verdict.CRASH, Worth.UNDECLARED),
        ],
    )
    def test_of_a_mutant(self, declared: str | None, verdict: Verdict, worth: Worth) -> None:
        assert met("mutant", declared, verdict).worth is worth

    @pytest.mark.parametrize(
        ("declared", "verdict", "worth"),
        [
            (None, Verdict.PASS, Worth.VACUOUS),
            (None, Verdict.UNTESTABLE, Worth.NOT_PASSED),
            (None, Verdict.TIMEOUT, Worth.NOT_PASSED),
            (None, Verdict.HARNESS_ERROR, Worth.UNKNOWN),
            ("it only listens", Verdict.PASS, Worth.EXCUSED),
            ("it only listens", Verdict.FAIL, Worth.STALE),
        ],
    )
    def test_of_an_impostor(self, declared: str | None, verdict: Verdict, worth: Worth) -> None:
        assert met("impostor", declared, verdict, TRACE).worth is worth

    def test_a_kill_with_a_stack_trace_is_no_kill_unless_the_trace_belongs_to_the_mistake(self) -> None:
        broken = met("mutant", "its own", Verdict.FAIL, TRACE)
        assert (broken.worth, "takes 1 positional" in broken.stack_trace) == (Worth.BROKEN, True)

    @pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.CRASH])
    def test_what_is_wrong_because_it_crashes_may_do_so(self, verdict: Verdict) -> None:
        assert met("mutant", "its own", verdict, TRACE, crashes=True).worth is Worth.KILLED

    def test_only_what_is_as_declared_is_no_hole(self) -> None:
        fine = {worth for worth in Worth if not worth.is_hole}
        assert fine == {Worth.KILLED, Worth.HELD, Worth.NOT_PASSED, Worth.EXCUSED}

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
    def met(
        self, *selectors: str, against: Against = Against.OWN, one_each: bool = False
    ) -> list[tuple[str, str]]:
        found = select(selectors, MUTANTS, CHECKS, Registry.load(), against, one_each=one_each)
        return [(one.program, one.check.id) for one in found]

    def test_everybody_without_a_selector(self) -> None:
        found = self.met()
        assert found[:4] == [
            ("finds-it", "CFG-001"),
            ("finds-it", "STD-001"),
            ("loses-it", "CFG-003"),
            ("runs-it", "STD-001"),
        ]
        assert found[4:] == [(name, id_) for name in null_programs.IMPOSTORS for id_ in CHECKS]

    def test_a_requirement_means_its_mutants_and_the_impostors_against_its_check(self) -> None:
        assert self.met("std") == [
            ("runs-it", "STD-001"),
            *((name, "STD-001") for name in null_programs.IMPOSTORS),
        ]

    def test_a_name_or_a_glob_means_programs(self) -> None:
        assert self.met("loses-it") == [("loses-it", "CFG-003")]
        assert {program for program, _ in self.met("*-it")} == {"finds-it", "loses-it", "runs-it"}
        assert self.met("hangs") == [("hangs", id_) for id_ in CHECKS]
        assert {program for program, _ in self.met("Impostors")} == set(null_programs.IMPOSTORS)

    def test_the_family_is_met_without_its_slow_checks_and_all_with_them(self) -> None:
        assert self.met("finds-it", against=Against.FAMILY) == [
            ("finds-it", "CFG-001"),
            ("finds-it", "STD-001"),
            ("finds-it", "CFG-003"),
        ]
        assert {id_ for _, id_ in self.met("loses-it", against=Against.ALL)} == set(CHECKS)

    def test_one_each_is_the_first_mutant_of_every_requirement_and_no_impostor(self) -> None:
        more = {**MUTANTS, "loses-more": mutant("loses-more", "CFG-003")}
        found = select([], more, CHECKS, Registry.load(), Against.OWN, one_each=True)
        assert [one.program for one in found if one.own] == ["finds-it", "loses-it", "runs-it"]
        found = select(["loses-more"], more, CHECKS, Registry.load(), Against.OWN, one_each=True)
        assert [one.program for one in found] == ["loses-more"]
        with pytest.raises(UsageError, match="no known-bad proxy"):
            self.met("impostors", one_each=True)

    def test_what_means_nothing_is_refused(self) -> None:
        with pytest.raises(UsageError, match="lose-it"):
            self.met("lose-it")


def judge(*words: str, mutants: list[Mutant], checks: list[Check], factory: Any = None) -> int:
    """The exit status of the command, without impostors."""
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
        assert "2 programs, 2 meetings: 2 killed" in output
        assert "expected: an answer seen: silence" in output

    def test_1_for_a_survivor(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert judge(mutants=[mutant()], checks=[passing()]) == 1
        assert "CFG-001 is-wrong: survived, pass" in capsys.readouterr().out

    def test_1_for_a_mutant_that_died_of_something_else_twice(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        crashed = raising(ImplementationCrashed("alive", "SIGSEGV"))
        assert judge(mutants=[mutant()], checks=[crashed]) == 1
        assert "is-wrong: died of something else (re-run), crash" in capsys.readouterr().out

    def test_1_for_an_undeclared_kill_and_0_when_it_is_declared(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checks = [raising(VIOLATION), raising(VIOLATION, "CFG-002")]
        assert judge("--against=all", mutants=[mutant()], checks=checks) == 1
        assert "CFG-002 is-wrong: undeclared kill" in capsys.readouterr().out
        assert judge("--against=all", mutants=[mutant(also={"CFG-002": "so it is"})], checks=checks) == 0
        assert (
            judge(mutants=[mutant(also={"CFG-002": "so it was"})], checks=[checks[0], passing("CFG-002")])
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

    def test_3_when_the_harness_breaks(self) -> None:
        assert judge(mutants=[mutant()], checks=[raising(KeyError("x"))]) == 3

    @pytest.mark.parametrize(
        "words", [["--jobs=0"], ["--report=json=/no/such/folder/x"], ["--report=html=x"]]
    )
    def test_wrong_usage_is_refused(self, words: list[str]) -> None:
        with pytest.raises(UsageError, match=words[0].partition("=")[0]):
            judge(*words, mutants=[mutant()], checks=[passing()])

    def test_an_impostor_that_passes_is_a_hole(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks = checks_of(passing(), raising(VIOLATION, "CFG-002"))
        assert main(["hangs"], mutants={}, checks=checks, open_workbench=FakeFactory()) == 1
        output = capsys.readouterr().out
        assert "CFG-001 hangs: vacuous pass, pass" in output
        assert "2 meetings: 1 not passed, 1 vacuous pass" in output

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
                mutants=[mutant(also={"CFG-002": "so it is"})],
                checks=[passing(), passing("CFG-002")],
            )
            == 0
        )
        assert capsys.readouterr().out.splitlines() == [
            "CFG-001   is-wrong: its own",
            "CFG-002   is-wrong: so it is",
        ]

    def test_it_is_a_verb_of_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert conformance(["mutants", "--list", "CFG-011"]) == 0
        assert "is-silent-about-undefined-variables: its own" in capsys.readouterr().out
        assert conformance(["mutants", "CFG-999"]) == 2


CALL = b'{"id": 1, "method": "tools/call"}\n'
CONFIG = b'{"mcpServers": {}}'
#: what those that say anything say to a call
SAID = {
    "echoes": CALL,
    "prints-its-configuration": CONFIG,
    "answers-everything-with-success": b'{"jsonrpc": "2.0", "id": 1, "result": {}}\n',
    "looks-like-a-proxy": b'{"jsonrpc": "2.0", "id": 1, "result": {"content": []}}\n',
}


@pytest.mark.parametrize("name", null_programs.IMPOSTORS)
def test_an_impostor_does_what_it_is_called_until_the_census_ends_it(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(CONFIG)
    token = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", null_programs.__file__, name, str(config)]
    environment = {**os.environ, TOKEN_VARIABLE: token}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as one:
        try:
            stdout, stderr = one.communicate(CALL, timeout=1.0)
        except subprocess.TimeoutExpired:
            assert name in ("hangs", "floods", "forks-without-end")
            ended = anyio.run(Census(token).end_all)
            assert len(ended) > 2 if name == "forks-without-end" else len(ended) == 1
        else:
            assert b"Traceback" not in stderr
            assert stdout == SAID.get(name, b"")
