"""The command that writes a first profile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.probing import GROUPS, _pattern, _patterns
from conformance.model.profile import Profile
from conformance.model.registry import REVISIONS


@pytest.mark.slow
def test_it_writes_what_run_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    design = "shows-each-tool-with-its-server-first"
    words = ["--", sys.executable, "-m", "conformance.mutants", design, "{config}"]
    assert main(["profile", "--name", "mine", "--output", str(file), *words]) == 0
    profile = Profile.load(str(file))
    assert (profile.name, profile.face, profile.names.tool) == ("mine", "flat", "{server}_{tool}")
    assert profile.revisions == set(REVISIONS)
    assert profile.command[1:] == tuple(words[2:])
    assert main(["profile", "--output", str(file), *words]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_it_knows_the_two_tools_of_a_dynamic_face(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--", sys.executable, "-m", "dynamic_mcp", "{config}"]) == 0
    profile = Profile.parse(capsys.readouterr().out, "mine")
    assert (profile.face, profile.single) == ("dynamic", None)
    assert profile.config.variables
    assert not profile.absent
    assert not profile.entries


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "there is no command"),
        (["--", "cat"], "add {config}"),
        (["--single", "--", "cat", "{config}"], "does not say where the server goes"),
        (["--single", "sse", "--", "cat", "{command}"], "--single sse: the command has {command} or {shell}"),
        (["--single", "command", "--", "cat", "{url}"], "--single command: the command has {url}"),
        (["--", "sh", "-x", "--"], "for example: -- sh -x -- {config}"),
        (["--", "cat"], "{url} for the address of one server, {command} for its words"),
        (["--", "cat", "{confg}"], "the command: {confg} stands for nothing; did you mean {config}?"),
        (["--", "cat", "--at={prot}", "{config}"], "{prot} stands for nothing; did you mean {port}?"),
        (["--", "cat", "{command}", "{config}"], "single.command: remove {config}"),
        (["--", "cat", "x{command}"], 'single.command: needs a word "{command}"'),
        (["--", "cat", "{port}", "{config}"], "`profile` has --url for that"),
        (["--", "{url}"], "it has to be the program"),
        (["--", "no-such-program", "{config}"], "was not found on PATH"),
        (["--url", "http://example.com/mcp", "--", "cat", "{config}"], "is not a URL of this machine"),
        (["--", "cat", "{config}"], "the command does not work as a proxy: no answer to initialize"),
        (["--", "sh", "-c", "echo my reason >&2", "{config}"], "my reason"),
    ],
)
def test_a_command_that_cannot_be_probed_is_a_clear_error(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *words]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shown", "pattern"),
    [
        ("memo://songs/one0", "{uri}"),
        ("memo://zebra/songs/one0", "{scheme}://{server}/{rest}"),
        ("zebra__memo://songs/one0", "{server}__{uri}"),
        ("mcp://zebra/memo%3A%2F%2Fsongs%2Fone0", "mcp://{server}/{quoted}"),
    ],
)
def test_the_pattern_of_a_uri_is_learned(shown: str, pattern: str) -> None:
    assert _pattern("uri", [shown], "memo://songs/one0") == pattern


def test_names_of_one_upstream_have_a_pattern_of_their_own() -> None:
    alone = {"tools": ["sing_0"], "prompts": ["rhyme_0"]}
    both = {"tools": [f"{group}.sing_{place}" for place, group in enumerate(GROUPS)], "prompts": ["rhyme_0"]}
    found = _patterns(alone, both, [])
    assert found == {"tool": "{server}.{tool}", "tool_alone": "{tool}", "prompt": "{prompt}"}


def test_names_with_a_hash_for_each_tool_or_server_have_no_pattern() -> None:
    tools = ["t_1111_sing_0", "t_2222_whisper_0"]
    uris = ["gw+memo.5f1://songs/one0", "gw+memo.a07://songs/one1"]
    remarks: list[str] = []
    assert _patterns({"tools": tools}, {"tools": tools, "resources": uris}, remarks) == {}
    assert remarks == [
        "no pattern describes each tool of t_1111_sing_0, t_2222_whisper_0: the checks learn them from the list",
        f"no pattern describes each uri of {', '.join(uris)}: the checks learn them from the list",
    ]
