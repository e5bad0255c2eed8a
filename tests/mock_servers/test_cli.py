"""The command line: how to start a mock, its options, and usage errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from mock_servers.commands import MAIN

from .driver import COMMAND, WITHIN, running


@pytest.mark.parametrize("isolated", [True, False])
def test_runs_by_path_and_as_a_module(tmp_path: Path, isolated: bool) -> None:
    root = str(MAIN.parent.parent)
    command = COMMAND if isolated else [sys.executable, "-m", "mock_servers", "stdio"]
    with running(tmp_path, command=command, cwd="/" if isolated else root) as mock:
        assert mock.ask("ping")["result"] == {}


def test_package_hides_no_standard_module(tmp_path: Path) -> None:
    with running(tmp_path, command=[sys.executable, str(MAIN), "stdio"], cwd=tmp_path) as mock:
        assert mock.ask("ping")["result"] == {}


def test_options_change_the_default_script(tmp_path: Path) -> None:
    options = ("--name", "n", "--page-size", "1", "--silent", "ping", "--delay", "0.1", "--era", "both")
    with running(tmp_path, None, *options) as mock:
        assert mock.ask("initialize", {})["result"]["serverInfo"]["name"] == "n"
        assert "nextCursor" in mock.ask("tools/list")["result"]
        mock.start("ping")
        assert "result" in mock.call()
        assert "silence" in {entry.data["do"] for entry in mock.events("action")}
        assert "result" in mock.ask_modern("server/discover")


def test_crash_on_start_exits_before_reading(tmp_path: Path) -> None:
    with running(tmp_path, None, "--crash-on-start", "7") as mock:
        assert mock.exit_code() == 7


@pytest.mark.parametrize("arguments", [["--help"], ["stdio", "--help"]])
def test_every_command_has_help(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND[:-1], *arguments], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0
    assert "stdio" in done.stdout


def test_wrong_script_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"tolls": []}')
    done = subprocess.run([*COMMAND, "--script", str(path)], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 2
    assert "unknown field tolls" in done.stderr


def test_missing_extra_is_a_usage_error() -> None:
    code = "import sys; sys.modules['starlette'] = None; from mock_servers.cli import main; main(['http'])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN, check=False
    )

    assert done.returncode == 2
    assert "pip install 'dynamic-mcp-reference[mocks]'" in done.stderr
