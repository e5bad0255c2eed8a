"""The core is the minimal proxy: without its extras and without its commands it passes the conformance suite.

Left out are the requirements that are about what was removed, each family or id with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynamic_mcp

pytestmark = [pytest.mark.core, pytest.mark.timeout(600)]

#: What is skipped, and why.
SKIPPED = {
    "HARD": "hardening is what the extras do",
}
#: Serving needs this much of the commands: what the command line says to a person.
KEPT_COMMANDS = {"__init__.py", "terminal.py"}

LAUNCHER = """\
import sys

sys.path.insert(0, {folder!r})

from dynamic_mcp.__main__ import main

main()
"""


def core_only(folder: Path) -> Path:
    """A copy of the package without extras and commands, and a program that runs it."""
    package = folder / "dynamic_mcp"
    shutil.copytree(
        Path(dynamic_mcp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "extras")
    )
    for entry in (package / "commands").iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in KEPT_COMMANDS:
            entry.unlink()
    launcher = folder / "core.py"
    launcher.write_text(LAUNCHER.format(folder=str(folder)))
    return launcher


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=cwd)


def test_the_copy_has_no_extras_and_no_commands(tmp_path: Path) -> None:
    launcher = core_only(tmp_path)
    for missing in ("extras", "commands.check"):
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import dynamic_mcp.{missing}"
        assert "ModuleNotFoundError" in run("-c", code, cwd=tmp_path).stderr
    assert run(str(launcher), "--version", cwd=tmp_path).stdout.startswith("dynamic-mcp ")


@pytest.mark.parametrize(
    "security",
    ['"audit": {"file": "a"}', '"validate_arguments": true', '"limits": {"open_files": 9}'],
)
def test_the_core_refuses_a_configuration_that_needs_extras(tmp_path: Path, security: str) -> None:
    launcher, config = core_only(tmp_path), tmp_path / "config.json"
    config.write_text(
        f'{{"mcpServers": {{"a": {{"description": "d", "command": "x"}}}}, "security": {{{security}}}}}'
    )
    done = run(str(launcher), str(config), cwd=tmp_path)
    assert done.returncode == 2
    assert "extras" in done.stderr


def test_a_reload_that_needs_extras_changes_nothing(tmp_path: Path) -> None:
    launcher, config = core_only(tmp_path), tmp_path / "config.json"
    config.write_text('{"mcpServers": {}}')
    with subprocess.Popen(
        [sys.executable, str(launcher), str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as proxy:
        assert proxy.stderr is not None
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        proxy.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        proxy.stdin.flush()
        assert proxy.stdout.readline()
        entry = '{"description": "d", "url": "http://127.0.0.1:1/mcp"}'
        config.write_text(f'{{"mcpServers": {{"a": {entry}}}, "security": {{"token_store": "keyring"}}}}')
        said = proxy.stderr.readline().decode()
        proxy.stdin.close()
        assert proxy.wait(30) == 0
    assert "configuration not reloaded" in said
    assert "extras" in said


def judged(folder: Path, *selection: str) -> subprocess.CompletedProcess[str]:
    """A conformance run of the core with these selectors."""
    launcher = core_only(folder)
    skips = [word for name in SKIPPED for word in ("--skip", name)]
    return run(
        *("-m", "conformance", "run", "--strict", "--profile", "reference", *selection, *skips),
        *("--", sys.executable, str(launcher), "{config}"),
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("selection", [["--skip", "slow"], ["--only", "RLD"]], ids=["quick", "reloads"])
def test_the_core_passes_the_quick_conformance_checks_and_those_of_reloads(
    tmp_path: Path, selection: list[str]
) -> None:
    """A reload compares the settings of the extras, so the core must do without them there."""
    done = judged(tmp_path, *selection)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_core_passes_the_slow_conformance_checks(tmp_path: Path) -> None:
    """The slow checks mostly wait. The bundled proxy passes them in every run, and the core differs only in the hooks of the extras."""
    done = judged(tmp_path, "--only", "slow")
    assert done.returncode == 0, done.stdout + done.stderr
