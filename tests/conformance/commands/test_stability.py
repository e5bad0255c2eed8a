"""Runs in a row: which are clean, and when they stop."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import anyio
import psutil
import pytest

from conformance.checks import Check, make_check
from conformance.cli import main
from conformance.commands.stability import busy_loops
from conformance.errors import Violation
from tests.conformance.fakes import MUST, SHOULD, FakeFactory, checks_of, passing, raising

COMMAND = ["--", sys.executable, "{config}"]
VIOLATION = Violation("an answer", "silence")


def stability(*words: str, checks: tuple[Check, ...], factory: FakeFactory | None = None) -> int:
    return main(
        ["stability", *words, *COMMAND], checks=checks_of(*checks), open_workbench=factory or FakeFactory()
    )


def test_all_runs_are_made_and_the_last_one_beside_busy_loops(capsys: pytest.CaptureFixture[str]) -> None:
    factory = FakeFactory()
    loops: list[int] = []

    async def counts_loops(workbench: Any) -> None:
        loops.append(len(psutil.Process().children()))

    before = len(psutil.Process().children())
    assert stability("--runs=2", "--busy=1", checks=(make_check(counts_loops, MUST),), factory=factory) == 0
    assert factory.opened == [MUST] * 3
    assert loops == [before, before, before + 1]
    assert "run 3 of 3: clean" in capsys.readouterr().out


def test_a_red_check_is_1_and_named_with_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert stability("--runs=1", "--busy=0", checks=(passing(), raising(VIOLATION, "CFG-002"))) == 1
    output = capsys.readouterr().out
    assert "run 1: CFG-002 fail: expected: an answer seen: silence" in output
    assert "CFG-001" not in output


def test_a_warning_is_1() -> None:
    assert stability("--runs=1", "--busy=0", checks=(raising(VIOLATION, SHOULD),)) == 1


def test_a_check_that_needs_its_second_attempt_in_one_run_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    attempts: list[str] = []

    async def fails_once(workbench: Any) -> None:
        attempts.append(workbench.check_id)
        if len(attempts) == 2:
            raise Violation("an answer within 5 s", "silence")

    assert stability("--runs=3", "--busy=0", checks=(make_check(fails_once, MUST),)) == 1
    output = capsys.readouterr().out
    assert "run 2: CFG-001 fail, then pass: expected: an answer within 5 s" in output
    assert "run 1 of 3: clean" in output
    assert "run 3 of 3: clean" in output


def test_an_interruption_is_130_and_the_last_run() -> None:
    factory = FakeFactory()

    async def interrupt(workbench: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    assert stability("--runs=3", checks=(make_check(interrupt, MUST),), factory=factory) == 130
    assert factory.opened == [MUST]


def test_a_broken_harness_is_3() -> None:
    assert stability("--runs=1", "--busy=0", checks=(raising(KeyError("x")),)) == 3


@pytest.mark.parametrize(
    "words", [["--runs=0", "--busy=0"], ["--jobs=0"], ["--only=HARD-001"], ["--only=XX"]]
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    assert stability(*words, checks=(passing(),)) == 2


def test_busy_loops_end_with_their_block() -> None:
    before = {child.pid for child in psutil.Process().children()}
    with busy_loops(2):
        loops = [child for child in psutil.Process().children() if child.pid not in before]
        assert len(loops) == 2
    assert not any(loop.is_running() for loop in loops)
