"""The commands that try a program out, with one that takes a server behind a URL only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.model.profile import Profile

RELAY = ["--", sys.executable, str(Path(__file__).parents[1] / "implementations" / "right_relay.py"), "{url}"]


def test_smoke_takes_a_program_with_one_url_and_no_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", *RELAY]) == 0
    assert "ok    call one tool of that upstream" in capsys.readouterr().out


def test_smoke_finds_out_that_a_program_shows_the_tools_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    design = "shows-each-tool-with-its-server-first"
    assert main(["smoke", "--", sys.executable, "-m", "conformance.mutants", design, "{config}"]) == 0
    output = capsys.readouterr().out
    assert output.count("ok ") == 3
    assert "write a profile with `profile --output FILE -- COMMAND` first" in output


def test_smoke_says_nothing_of_a_profile_for_the_two_tools(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "--", sys.executable, "-m", "dynamic_mcp", "{config}"]) == 0
    assert "The command works; run the conformance checks." in capsys.readouterr().out


def test_smoke_shows_the_request_that_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    program = ["-m", "conformance.mutation.null_programs", "fails-every-call"]
    assert main(["smoke", "--", sys.executable, *program, "{config}"]) == 1
    output = capsys.readouterr().out
    assert "wrong call one tool of that upstream" in output
    assert '"arguments": {"group": "a", "name": "echo", "args": {"x": 1}}' in output


def test_a_first_profile_of_such_a_program_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *RELAY]) == 0
    shown = capsys.readouterr().out
    profile = Profile.parse(shown, "mine")
    assert profile.single is not None
    assert (profile.single.http, profile.command[1:]) == (("{url}",), tuple(RELAY[2:-1]))
    assert "# oauth =" in shown
    assert "# env =" not in shown
