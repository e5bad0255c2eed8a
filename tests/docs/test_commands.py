"""Runs every command of the documentation, and compares its output with the page.

The scripts of a page run in order in one folder, as in one terminal: exported variables and background processes stay for the next
script. `python` is this interpreter, `my-proxy` is a proxy with one mistake, and mocks replace servers that need a download. Each script
gets empty lines on stdin. `SKIPPED` lists the commands that cannot run here, with the reason.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mock_servers.script import Script, tool

from .pages import PAGES, ROOT, missing, steps

WITHIN = 120.0
_INSTALLS = "installs packages; `tox` does that in its environments"
_CLIENT = "a product that these tests do not install; `tox -e clients` runs it with such an entry"
_PEER = "needs another implementation; `tox -e peers` installs it"

#: the commands that do not run here, with the reason
_ENDLESS = "serves until its user ends it; tests/dynamic_mcp/extras/serving runs it"
SKIPPED = {
    'python3 -m venv .venv && .venv/bin/pip install -q ".[conformance]" && .venv/bin/python -m conformance run --skip slow': _INSTALLS,
    "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox": _INSTALLS,
    ". .venv/bin/activate": _INSTALLS,
    "python3 -m venv .venv": _INSTALLS,
    'pip install ".[conformance]"': _INSTALLS,
    "pip install .": _INSTALLS,
    "pip install dmcp==1.5.0": _INSTALLS,
    "npm install --global @kimuson/modular-mcp@0.0.5": _INSTALLS,
    "npm install --global mcp-hub@4.2.1": _INSTALLS,
    "pip install mcp-proxy==0.13.0": _INSTALLS,
    "npm install --global mcp-remote@0.15.1": _INSTALLS,
    "pip install mcp-stdio==0.45.2": _INSTALLS,
    "npm install --global supergateway@4.0.0": _INSTALLS,
    "python -m conformance compare --markdown docs/implementations.md reference dmcp modular-mcp mcp-hub mcp-proxy mcp-proxy-http"
    " mcp-remote mcp-stdio supergateway supergateway-http": _PEER,
    "python -m conformance smoke -- dmcp {config}": _PEER,
    "python -m conformance run -- dmcp {config}": _PEER,
    "python -m conformance run --only CFG --report json=report.json --report html=report.html -- dmcp {config}": _PEER,
    'pip install "./conformance-suite[conformance]"': _INSTALLS,
    'pip install "PATH/OF/THE/CHECKOUT[mocks]"': _INSTALLS,
    'pip install ".[conformance]" dmcp==1.5.0': _INSTALLS,
    "python -m conformance bench --rounds 5 --json docs/performance.json --svg docs/performance.svg --markdown docs/performance.md": _PEER,
    'pip install ".[otel]"': _INSTALLS,
    "pip install 'dynamic-mcp-reference[http]'": _INSTALLS,
    "dynamic-mcp serve config.json --listen 127.0.0.1:8765": _ENDLESS,
    "dynamic-mcp serve config.json --token-file token": _ENDLESS,
    "make": "builds the reader's proxy",
    "pipx install .": _INSTALLS,
    "npx @modelcontextprotocol/inspector --cli dynamic-mcp dynamic-mcp.json --method tools/call --tool-name call_dynamic_tool"
    ' --tool-arg group=time --tool-arg name=get_current_time --tool-arg \'args={"timezone": "UTC"}\'': (
        "comes from npm; `tox -e official` calls a tool with it"
    ),
    r'claude mcp add-json dynamic-mcp "{\"command\": \"dynamic-mcp\",'
    r' \"args\": [\"$PWD/dynamic-mcp.json\"], \"alwaysLoad\": true}"': _CLIENT,
    'gemini mcp add --scope user dynamic-mcp dynamic-mcp "$PWD/dynamic-mcp.json"': _CLIENT,
    'codex mcp add dynamic-mcp -- dynamic-mcp "$PWD/dynamic-mcp.json"': _CLIENT,
    'opencode mcp add dynamic-mcp -- dynamic-mcp "$PWD/dynamic-mcp.json"': _CLIENT,
}

#: how mcp-server-time and the file server from npm describe themselves
TIME = Script(
    name="mcp-time",
    version="2026.10.19",
    era="both",
    tools=[tool("get_current_time", "Get current time"), tool("convert_time", "Convert time")],
)
FILES = Script(
    name="secure-filesystem-server",
    version="0.2.0",
    tools=[tool(f"{verb}_file", "One of its tools") for verb in ("read", "write", "edit", "move")],
)

#: a whole run takes minutes, so the tests select one requirement instead
_WHOLE_RUNS = (
    "conformance run proxy",
    "conformance run --skip",
    "conformance run --report html=report.html --profile first.toml",
    "conformance run --profile my-proxy.toml --jobs",
    "conformance run --",
)
_ONE = "conformance run --only CFG-001"

_COMMANDS = {page: [command for step in steps(page) for command in step.commands] for page in PAGES}


@dataclass(frozen=True)
class PageSandbox:
    """The folder, environment and process group of the scripts of a page."""

    folder: Path
    environment: dict[str, str]
    #: the process group of all processes of the page
    group: int

    def run(self, commands: list[str]) -> tuple[int, str]:
        """Run these commands as a script that stops at the first failure. Returns its status and its whole output."""
        exported = self.folder.parent / "exported.sh"
        around = ["set -e", f"! test -e {exported} || . {exported}", f"trap 'export -p > {exported}' EXIT"]
        output = self.folder.parent / "output.txt"
        empty_lines = self.folder.parent / "empty-lines.txt"
        empty_lines.write_text("\n" * 20, encoding="utf-8")
        # To a file, because a background process of the script would hold a pipe open.
        with output.open("wb") as out, empty_lines.open("rb") as lines:
            status = subprocess.run(
                ["/bin/sh", "-c", "\n".join([*around, *map(shortened, commands)])],
                cwd=self.folder,
                env=self.environment,
                stdin=lines,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=self.group,
                timeout=WITHIN,
                check=False,
            ).returncode
        return status, output.read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def group() -> Iterator[int]:
    """A process group; the end of the test kills its processes."""
    first = subprocess.Popen(["/bin/sleep", "600"], process_group=0)
    yield first.pid
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(10)


@pytest.fixture
def sandbox(tmp_path: Path, group: int) -> PageSandbox:
    """A folder that looks like the checkout, and a `PATH` with only the programs below, so that no other program runs by
    accident.
    """
    python = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)}"
    programs = {
        # Checks and servers do not get the environment of the caller, so each program sets its own.
        "python": python,
        "dynamic-mcp": f"{python} -m dynamic_mcp",
        "dynamic-mcp-conformance": f"{python} -m conformance",
        "my-proxy": f"{python} -m conformance.mutants puts-is-error-into-the-content",
        "cat": "exec /bin/cat",
        "sleep": "exec /bin/sleep",
        # Replacements for programs from PyPI and npm.
        "uvx": f"{python} -m mock_servers stdio --script {tmp_path / 'time.json'} --",
        "npx": f"{python} -m mock_servers stdio --script {tmp_path / 'files.json'} --",
    }
    TIME.save(tmp_path / "time.json")
    FILES.save(tmp_path / "files.json")
    for name in ("home", "tmp", "bin", "page"):
        (tmp_path / name).mkdir()
    for name, command in programs.items():
        file = tmp_path / "bin" / name
        file.write_text(f'#!/bin/sh\n{command} "$@"\n', encoding="utf-8")
        file.chmod(0o755)
    shutil.copytree(ROOT / "examples", tmp_path / "page" / "examples")
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    environment = {
        **coverage,
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }
    return PageSandbox(tmp_path / "page", environment, group)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.commands
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in PAGES if _COMMANDS[page]], ids=_name)
def test_commands_of_a_page(page: Path, sandbox: PageSandbox) -> None:
    for step in list(steps(page)):  # a block of output comes after its step
        where = f"{_name(page)}:{step.line}"
        if step.file:
            file = sandbox.folder / step.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(step.content, encoding="utf-8")
            continue
        commands = [command for command in step.commands if command not in SKIPPED]
        status, output = sandbox.run(commands) if commands else (0, "")
        assert status == (step.exit if commands else 0), f"{where}: {commands}\n{output}"
        lost = missing(step.output, output)
        assert lost is None, f"{where}: does not print: {lost}\nbut: {output}"


def shortened(command: str) -> str:
    """The command, limited to one requirement if it would run all of them."""
    for beginning in _WHOLE_RUNS:
        if beginning in command and "--only" not in command and "--rerun-failed" not in command:
            return command.replace("run proxy", "run").replace("conformance run", _ONE, 1)
    return command


def test_every_skipped_command_is_on_a_page() -> None:
    shown = {command for commands in _COMMANDS.values() for command in commands}
    assert sorted(set(SKIPPED) - shown) == []


def test_only_whole_runs_are_shortened() -> None:
    assert (
        shortened("python -m conformance run -- x {config}")
        == "python -m conformance run --only CFG-001 -- x {config}"
    )
    assert (
        shortened("python -m conformance run proxy -- x {config}")
        == "python -m conformance run --only CFG-001 -- x {config}"
    )
    assert (
        shortened("python -m conformance run --only SSE -- x") == "python -m conformance run --only SSE -- x"
    )


def test_pages_have_commands() -> None:
    """Otherwise a changed convention could leave these tests without any command."""
    assert sum(map(len, _COMMANDS.values())) > len(SKIPPED) + 10


@pytest.mark.parametrize(
    ("shown", "output", "lost"),
    [
        (["a 12", "b"], "a  7\nx\nb", None),
        (["b", "a"], "a\nb", "a"),
        (["of one", "line"], "of one line", None),
        (["nothing"], "", "nothing"),
    ],
)
def test_missing_finds_lines_in_order(shown: list[str], output: str, lost: str | None) -> None:
    assert missing(shown, output) == lost
