"""`profile --draft`: what a person knows about a program is used for the probing and stays in the profile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.draft import Draft
from conformance.commands.probing import Findings
from conformance.commands.probing_kinds import KindFound
from conformance.commands.profile_text import profile_text
from conformance.model.client_table import ClientTable
from conformance.model.profile import Profile

PROBED = str(Path(__file__).with_name("probed.py"))
CONFIG = '[config]\nservers = "my-servers"\nrename = { command = "program", "timeout.tools" = "t" }\ndrop = ["description"]\n'
OTHERS = (
    '[entries.http]\ntype = "http"\n[client]\nshares = true\n[tokens]\nmargin = 2.5\n'
    '[log_switch]\n"A B" = "1"\n[absent]\nTOK = "none"\n'
)


@pytest.mark.slow
def test_another_form_of_the_configuration_is_used_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "draft.toml").write_text(CONFIG, encoding="utf-8")
    command = ["--", sys.executable, PROBED, "file", "{config}", "my-servers"]
    assert main(["profile", *command]) == 2
    assert "add --draft FILE" in capsys.readouterr().err
    assert main(["profile", "--draft", str(tmp_path / "draft.toml"), *command]) == 0
    profile = Profile.parse(capsys.readouterr().out, "mine")
    assert (profile.config.servers, profile.config.drop) == (
        "my-servers",
        ("description", "features", "enabled", "env", "cwd", "tools"),
    )
    assert profile.config.rename == {"command": "program", "timeout.tools": "t"}
    assert profile.names.tool == "{server}.{tool}"


def test_each_table_of_a_draft_is_in_the_profile(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(CONFIG + OTHERS, encoding="utf-8")
    draft = Draft.read(file)
    text = profile_text("m", ["x"], Findings(face="flat"), None, draft.profile.client, draft=draft)
    written = Profile.parse(text, "mine")
    for member in ("config", "entries", "client", "margin", "log_switch", "absent"):
        assert getattr(written, member) == getattr(draft.profile, member)


def test_what_the_draft_knows_to_be_absent_keeps_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    file.write_text('[absent]\nSSE = "mine"\nOAUTH = "mine too"\n', encoding="utf-8")
    kinds = [KindFound("http", reason="found"), KindFound("sse", reason="found too")]
    draft = Draft.read(file)
    text = profile_text("m", ["x"], Findings(face="flat"), None, ClientTable(), kinds, draft)
    absent = Profile.parse(text, "mine").absent
    assert {name: absent[name] for name in ("HTTP", "SSE", "OAUTH")} == {
        "HTTP": "found",
        "SSE": "mine",
        "OAUTH": "mine too",
    }
    assert absent["TOK"].startswith("it uses no server behind a URL")


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        ('face = "flat"', [], "face is for the finished profile; a draft has absent, client, config"),
        ("[config", [], "draft.toml"),
        ('config.drop = ["descripton"]', [], "did you mean 'description'?"),
        ("client.shares = true", ["--url", "http://127.0.0.1:{port}/mcp"], "give one of the two"),
    ],
)
def test_a_wrong_draft_is_an_error(
    text: str, words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(text, encoding="utf-8")
    assert main(["profile", "--draft", str(file), *words, "--", "cat", "{config}"]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert "--draft" in said or "--url" in said


def test_a_draft_that_does_not_exist_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--draft", "/nonexistent/d.toml", "--", "cat", "{config}"]) == 2
    assert "No such file" in capsys.readouterr().err
