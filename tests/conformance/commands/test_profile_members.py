"""`profile` says which members of a server a program does not have, so that no check fails for a setting that it never had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.probing import Findings
from conformance.commands.profile_text import profile_text
from conformance.model.client_table import ClientTable
from conformance.model.profile import Profile

#: the members of a server that only the bundled proxy has
BEYOND = ("cwd", "tools", "security", "oauth")
PROBED = str(Path(__file__).with_name("probed.py"))


def probed(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, Profile]:
    assert main(["profile", "--", sys.executable, *words]) == 0
    shown = capsys.readouterr().out
    return shown, Profile.parse(shown, "mine")


@pytest.mark.slow
def test_a_program_without_such_members_drops_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown, profile = probed([PROBED, "file", "{config}"], capsys)
    # Its calls reach no server, which tells nothing about a timeout.
    assert profile.config.drop == ("features", "enabled", "env", "cwd", "tools")
    assert "these members of a server had no effect: features, enabled" in shown


@pytest.mark.slow
def test_a_program_that_refuses_a_member_drops_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    _, profile = probed([PROBED, "strict", "{config}"], capsys)
    assert profile.config.drop == ("timeout", "features", "enabled", "cwd", "tools", "security")


@pytest.mark.slow
def test_a_program_with_all_members_drops_none(capsys: pytest.CaptureFixture[str]) -> None:
    design = "shows-each-tool-with-its-server-first"
    shown, profile = probed(["-m", "conformance.mutants", design, "{config}"], capsys)
    assert profile.config.drop == ()
    assert "# If it does not apply a changed file: reload = false" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "dropped"),
    [
        (["-m", "dynamic_mcp", "{config}"], ()),
        (["-m", "conformance.mutants", "refuses-members-beyond-the-documents", "{config}"], BEYOND),
    ],
)
def test_of_a_dynamic_face_only_members_beyond_the_documents_are_tried(
    words: list[str], dropped: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    shown, profile = probed(words, capsys)
    assert (profile.face, profile.config.drop) == ("dynamic", dropped)
    assert ("these members of a server had no effect" in shown) is bool(dropped)


def test_the_drop_of_a_draft_stays() -> None:
    text = profile_text("mine", ["x", "{config}"], Findings(face="flat", lacks=["cwd"]), None, ClientTable())
    assert Profile.parse(text, "mine").config.drop == ("cwd",)


@pytest.mark.parametrize(("face", "told"), [("flat", True), ("dynamic", False)])
def test_what_no_probe_finds_out_is_a_comment(face: str, told: bool) -> None:
    text = profile_text("mine", ["x", "{config}"], Findings(face=face), None, ClientTable())
    assert "# If it does not apply a changed file" in text
    assert ("If it takes no OAuth client id" in text) is told
