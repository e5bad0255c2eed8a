"""Completion in bash, and the message without the extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamic_mcp import cli
from dynamic_mcp.commands import completion, terminal

ROOT = Path(__file__).resolve().parents[3]
#: Completes a line like a TAB at its end, with the completion function of the program.
TAB = r"""
eval "$(dynamic-mcp completion bash)" || exit
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9
[[ $(complete -p "${COMP_WORDS[0]}") =~ -F\ ([^ ]+) ]] || exit
"${BASH_REMATCH[1]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]%% }"
"""


class Shell:
    """A bash with the completion script, in a folder with `config.json`, `other.json` and a folder `deep`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        (self.folder / "deep").mkdir(parents=True)
        (self.folder / "config.json").write_text(json.dumps({"mcpServers": {"time": {}, "two words": {}}}))
        (self.folder / "other.json").write_text("[")
        programs = folder / "bin"
        programs.mkdir()
        for program, package in (
            ("dynamic-mcp", "dynamic_mcp"),
            ("dynamic-mcp-conformance", "conformance"),
        ):
            file = programs / program
            file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {package} "$@"\n')
            file.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def suggested(self, line: str, config: str = "") -> set[str]:
        """The suggestions of a TAB at the end of the line."""
        ran = subprocess.run(
            ["bash", "--norc", "-c", TAB, "bash", line],
            cwd=self.folder,
            env={**self.environment, "DYNAMIC_MCP_CONFIG": config},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert ran.stderr == ""
        return set(ran.stdout.splitlines()) - {""}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.slow
def test_commands_files_and_options_are_suggested(shell: Shell) -> None:
    files = {"config.json", "other.json", "deep/"}
    assert shell.suggested("dynamic-mcp ") == {*terminal.COMMANDS, *files}
    assert shell.suggested("dynamic-mcp c") == {"check", "completion", "connect", "config.json"}
    assert shell.suggested("dynamic-mcp check ") == files
    assert shell.suggested("dynamic-mcp check --s") == {"--strict"}
    assert shell.suggested("dynamic-mcp --log-level i") == {"info"}
    assert shell.suggested("dynamic-mcp import cl") == {"claude", "claude-code", "claude-desktop", "cline"}
    assert shell.suggested("dynamic-mcp import cline --output o") == {"other.json"}
    assert shell.suggested("dynamic-mcp completion ") == set(completion.SHELLS)


@pytest.mark.slow
def test_names_of_servers_are_suggested(shell: Shell) -> None:
    assert shell.suggested("dynamic-mcp login t", config="config.json") == {"time", r"two\ words"}
    assert shell.suggested("dynamic-mcp logout ti", config="config.json") == {"time"}
    assert shell.suggested("dynamic-mcp login time c", config="config.json") == {"config.json"}
    # An unreadable file has no servers.
    assert shell.suggested("dynamic-mcp login ", config="other.json") == set()
    assert shell.suggested("dynamic-mcp login ") == set()


@pytest.mark.slow
def test_requirements_are_suggested_for_the_runner(shell: Shell) -> None:
    assert "smoke" in shell.suggested("dynamic-mcp-conformance s")
    assert shell.suggested("dynamic-mcp-conformance show CFG-00") >= {"CFG-001", "CFG-002"}
    assert {"CFG", "CFG-001"} <= shell.suggested("dynamic-mcp-conformance run --only CF")
    assert shell.suggested("dynamic-mcp-conformance run --baseline o") == {"other.json"}


@pytest.mark.parametrize("shell_name", completion.SHELLS)
def test_each_shell_gets_a_script_for_both_programs(
    shell_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.main([shell_name]) == 0
    script = capsys.readouterr().out
    assert all(program in script for program in completion.PROGRAMS)


def test_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        completion.main(["cmd.exe"])
    assert exited.value.code == 2
    assert "bash" in capsys.readouterr().err


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    with pytest.raises(SystemExit) as exited:
        completion.main(["bash"])
    assert exited.value.code == terminal.USAGE_ERROR
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pip install 'dynamic-mcp-reference[completion]'" in captured.err
    completion.answer(cli.parser)


def test_every_command_of_the_usage_is_completed() -> None:
    usage = cli.parser().format_usage()
    assert all(f"dynamic-mcp {command}" in usage for command in terminal.COMMANDS)
