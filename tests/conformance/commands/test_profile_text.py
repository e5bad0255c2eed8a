"""The text of a first profile loads, whatever the program and the command line give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.probing import Findings, _loadable
from conformance.commands.profile_text import profile_text
from conformance.model.client_table import ClientTable
from conformance.model.profile import Profile

HOSTILE = 'a\nb = 1\x1b[31m\x7f\u2028"\\\ud800{é'


def test_hostile_texts_load() -> None:
    found = Findings(face="flat", capabilities={HOSTILE: {}}, remarks=[HOSTILE], names={"tool": "\x7f{tool}"})
    found.tools = {"list": HOSTILE, "call": "b"}
    text = profile_text("my \x7f\\ name", ["run", '"\x7f\n'], found, None, ClientTable())
    profile = Profile.parse(text, "mine")
    assert (profile.name, profile.command) == ("my \x7f\\ name", ("run", '"\x7f\n'))
    assert profile.names.tool == "\x7f{tool}"


@pytest.mark.parametrize("pattern", ["{x}{tool}", "\ud800{tool}"])
def test_a_pattern_that_no_profile_can_have_becomes_a_remark(pattern: str) -> None:
    remarks: list[str] = []
    assert _loadable({"tool": pattern, "prompt": "{prompt}"}, remarks) == {"prompt": "{prompt}"}
    assert len(remarks) == 1


def test_a_file_that_cannot_be_made_is_an_error_before_the_program_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    command = ["--", "sh", "-c", f"touch {started}", "{config}"]
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for file, problem in (
        (tmp_path / "no" / "x.toml", f"--output: there is no folder {tmp_path / 'no'}"),
        (tmp_path / "link", "exists already"),
        (tmp_path, "exists already"),
    ):
        assert main(["profile", "--output", str(file), *command]) == 2
        said = capsys.readouterr().err
        assert problem in said
        assert "Traceback" not in said
    assert not started.exists()


def test_a_word_that_is_no_text_is_an_error_before_the_program_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["profile", "--", "cat", os.fsdecode(b"\xff"), "{config}"]) == 2
    assert "is not UTF-8" in capsys.readouterr().err
