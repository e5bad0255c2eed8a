"""`profile` says which kinds of servers a program with a configuration file cannot use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.probing import Findings
from conformance.commands.probing_kinds import KindFound
from conformance.commands.profile_text import profile_text
from conformance.model.client_table import ClientTable
from conformance.model.profile import Profile

PROBED = str(Path(__file__).with_name("probed.py"))


@pytest.mark.slow
def test_a_kind_is_absent_only_if_the_program_never_tried_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--", sys.executable, PROBED, "file", "{config}"]) == 0
    shown = capsys.readouterr().out
    profile = Profile.parse(shown, "mine")
    # It sends one POST to a server with `transport`, which is no beginning of HTTP+SSE.
    assert profile.absent.keys() == {"SSE"}
    assert profile.absent["SSE"].startswith(
        "in a first probe, it did not open the stream of an HTTP+SSE server"
    )
    assert '# HTTP = "in a first probe, it did not list the tools of' in shown
    assert "stderr: one message is enough" in shown


@pytest.mark.parametrize(
    ("kinds", "absent"),
    [
        ([KindFound("http", is_used=True), KindFound("sse", is_used=True)], set()),
        ([KindFound("http", is_used=True), KindFound("sse", reason="r")], {"SSE"}),
        ([KindFound("http", reason="r"), KindFound("sse", reason="r")], {"HTTP", "SSE", "OAUTH", "TOK"}),
        ([KindFound("http", reason="r", was_reached=True), KindFound("sse", reason="r")], {"SSE"}),
        ([KindFound("command", reason="r"), KindFound("sse", is_used=True)], {"STD", "GUARD"}),
    ],
)
def test_sign_ins_need_a_server_behind_a_url(kinds: list[KindFound], absent: set[str]) -> None:
    text = profile_text("mine", ["x", "{config}"], Findings(face="flat"), None, ClientTable(), kinds)
    assert Profile.parse(text, "mine").absent.keys() == absent
    assert ("# If it never signs in: OAUTH" in text) is ("OAUTH" not in absent)


def test_the_members_that_an_entry_needs_are_in_the_profile() -> None:
    kinds = [KindFound("http", {"transport": "http"}, is_used=True), KindFound("sse", is_used=True)]
    text = profile_text("mine", ["x", "{config}"], Findings(face="flat"), None, ClientTable(), kinds)
    assert Profile.parse(text, "mine").entries == {"http": {"transport": "http"}}
