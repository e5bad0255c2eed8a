"""The messages of the command line to a user who starts the proxy in a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp import cli

CONFIGURATION = '{"mcpServers": {}}'


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DYNAMIC_MCP")}
    command = [sys.executable, "-m", "dynamic_mcp", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False, **more
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_start_in_a_terminal_explains_that_a_client_should_start_it(tmp_path: Path) -> None:
    import pty

    config = tmp_path / "config.json"
    config.write_text(CONFIGURATION)
    controller, terminal = pty.openpty()
    try:
        os.write(controller, b"\x04")
        by_hand = run(str(config), stdin=terminal)
    finally:
        os.close(terminal)
        os.close(controller)

    assert (by_hand.returncode, by_hand.stdout) == (0, "")
    assert "waits here for the messages of an MCP client" in by_hand.stderr
    assert run(str(config), stdin=subprocess.DEVNULL).stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="this test closes the stream in a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", "<&- >&-"])
def test_start_without_streams_is_the_end_of_input(tmp_path: Path, closed: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(CONFIGURATION)
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "dynamic_mcp", str(config)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_missing_configuration_shows_how_to_get_one() -> None:
    done = run(stdin=subprocess.DEVNULL)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: dynamic-mcp")
    assert "`dynamic-mcp import TOOL --yes`" in done.stderr


def test_help_names_every_command_and_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    text = cli.parser().format_help()

    for command in ("import", "check", "login", "logout", "schema"):
        assert f"\n  {command} " in text
        assert f"dynamic-mcp {command}" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["chek", "c.json"], "dynamic-mcp: unknown command 'chek'; did you mean 'check'?\n"),
        (["frobnicate", "c.json"], "dynamic-mcp: unknown command 'frobnicate'\n"),
    ],
)
def test_misspelled_command_is_named(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(words)
    assert exited.value.code == 2
    assert capsys.readouterr().err == expected


def test_schema_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main(["schema", "c.json"])
    assert exited.value.code == 2
    assert capsys.readouterr().err.endswith("schema: error: unrecognized arguments: c.json\n")


def test_surplus_arguments_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(tmp_path / "config.json"), "more"])
    assert exited.value.code == 2
    assert "unrecognized arguments: more" in capsys.readouterr().err
