"""`run --attach`: what it shows, how long it waits, and that deadlines are longer meanwhile."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from conformance.checks import make_check
from conformance.cli import main
from conformance.commands.attach import Attaching
from conformance.engine.execution import RunOptions
from conformance.engine.runner import run
from conformance.errors import Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.model.verdicts import Verdict
from conformance.workbench.deadlines import AN_HOUR, extended, extended_deadlines
from tests.conformance.fakes import MUST, FakeFactory, checks_of, fake_sut, passing, raising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conformance.model.results import RunReport
    from conformance.workbench.workbench import Workbench


def python(program: str, *arguments: str) -> Sut:
    return Sut(
        "program", (sys.executable, "-I", "-S", "-c", program, "{config}", *arguments), Profile("program")
    )


WAITS = python("import sys; sys.stdin.read()")
SAYS_WHERE_IT_IS = "import json, os, sys; print(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]))"


class User:
    """A user who reads the output and acts when it asks for that."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.shown: list[str] = []
        self.asked = anyio.Event()

    def see(self, text: str) -> None:
        self.shown.append(text)
        if "press Enter" in text:
            self.asked.set()

    @property
    def pid(self) -> int:
        (line,) = [text for text in self.shown if text.startswith("Its pid is")]
        return int(line.split()[3].rstrip("."))


@pytest.fixture
def user() -> Iterator[User]:
    one = User()
    yield one
    os.close(one.read)
    os.close(one.write)


async def attached(user: User, sut: Sut, check: Any, *actions: Any) -> RunReport:
    """Run a check; the user takes these actions when the output asks for them."""

    async def act() -> None:
        await user.asked.wait()
        for action in actions:
            action()

    factory = Attaching(user.see, user.read)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act)
            made = make_check(check, MUST, timeout=0.01)
            options = RunOptions(open_workbench=factory, time_scale=float("inf"), second_attempts=False)
            report = await run(sut, [made], options)
    return report


async def starts_once(workbench: Workbench) -> None:
    async with workbench.proxy():
        pass


async def test_the_check_goes_on_after_enter(user: User) -> None:
    alive: list[bool] = []

    def look_and_press() -> None:
        alive.append(os.path.exists(f"/proc/{user.pid}") or sys.platform != "linux")
        os.write(user.write, b"\n")

    report = await attached(user, WAITS, starts_once, look_and_press)
    assert alive == [True]
    assert [result.verdict for result in report.results] == [Verdict.PASS]
    assert user.shown[-1] == "The check goes on."


async def test_the_check_goes_on_when_the_file_appears_even_without_a_terminal(user: User) -> None:
    def make_the_file() -> None:
        (line,) = [text for text in user.shown if "or create" in text]
        open(line.rpartition("or create ")[2].rstrip("."), "x").close()

    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, user.read)
    os.close(nothing)
    report = await attached(user, WAITS, starts_once, make_the_file)
    assert [result.verdict for result in report.results] == [Verdict.PASS]


async def test_the_check_goes_on_when_the_program_has_ended(user: User) -> None:
    async def runs_to_exit(workbench: Workbench) -> None:
        assert (await workbench.run_to_exit()).code == 3

    report = await attached(user, python("raise SystemExit(3)"), runs_to_exit)
    assert [result.verdict for result in report.results] == [Verdict.PASS]
    assert user.shown[-1] == "The program has ended."


async def test_the_printed_command_starts_the_program_in_the_same_way(user: User) -> None:
    outputs: list[str] = []

    async def compares(workbench: Workbench) -> None:
        workbench.secret("s3cret value")
        outcome = await workbench.run_to_exit(
            args=["it's", "s3cret value"], env={"X": "a b", "Y": "s3cret value"}
        )
        command = user.shown[0].partition("\n\n")[2]
        done = await anyio.run_process(["/bin/sh", "-c", command])
        outputs.extend([outcome.stdout.decode(), done.stdout.decode()])

    report = await attached(user, python(SAYS_WHERE_IT_IS), compares)
    assert [result.message for result in report.results] == [""]
    ours, theirs = (json.loads(output) for output in outputs)
    assert ours[2][-2:] == ["it's", "s3cret value"]
    assert "s3cret" not in "".join(user.shown)
    assert theirs == json.loads(outputs[0].replace("s3cret value", "[redacted]"))


async def test_an_answer_may_take_longer_than_its_deadline(user: User) -> None:
    answers_late = python("""
import json, sys, time
request = json.loads(sys.stdin.readline())
time.sleep(0.5)
print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {}}), flush=True)
sys.stdin.read()""")

    async def asks(workbench: Workbench) -> None:
        async with workbench.proxy(wire_types=False) as proxy:
            answer = await proxy.request("ping", within=0.01)
            assert answer.result == {}

    report = await attached(user, answers_late, asks, lambda: os.write(user.write, b"\n"))
    assert [result.verdict for result in report.results] == [Verdict.PASS]


async def test_a_red_check_is_not_tried_again() -> None:
    check = raising(Violation("a", "b"))
    options = RunOptions(open_workbench=FakeFactory(), second_attempts=False)
    report = await run(fake_sut(), [check], options)
    assert [len(result.attempts) for result in report.results] == [1]


def test_only_waits_inside_the_block_are_longer() -> None:
    with extended_deadlines():
        assert (extended(5.0), extended(2 * AN_HOUR)) == (AN_HOUR, 2 * AN_HOUR)
    assert extended(5.0) == 5.0


def test_more_than_one_check_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--attach", "--", sys.executable, "{config}"]
    assert main(words, checks=checks_of(passing(), passing("CFG-002"))) == 2
    assert "--attach is for one check at a time, but 2 are selected" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_in_a_terminal(tmp_path: Path) -> None:
    """The reference, and a check that starts it twice."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "conformance", "run", "--attach", "--only", "CFG-002"]
    shown = b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            pressed = 0
            while chunk := _read(ours):
                shown += chunk
                if shown.count(b"press Enter") > pressed:
                    pressed += 1
                    os.write(ours, b"\n")
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(ours)
    assert pressed == 2
    assert b"1 pass, 0 planned" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports a closed other end like this
        return b""
