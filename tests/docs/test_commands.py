"""Every command that the documentation shows does what is said there.

The commands of a page run in order in one folder, with `python` as this interpreter and `my-proxy` as a proxy with one
mistake. Each gets empty lines on stdin. A command that cannot run here is listed with the reason.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .pages import PAGES, ROOT, missing, steps

if TYPE_CHECKING:
    from pathlib import Path

WITHIN = 120.0
MY_PROXY = f"{sys.executable} -m conformance.mutants puts-is-error-into-the-content"
_INSTALLS = "installs packages: `tox` does it, in its environments"
_PEER = "another implementation, which has to be installed: `tox -e peers`"

#: what does not run here, and why
LEFT_OUT = {
    'python3 -m venv .venv && .venv/bin/pip install -q ".[conformance]" && .venv/bin/python -m conformance run': _INSTALLS,
    "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox": _INSTALLS,
    "pip install dmcp": _INSTALLS,
    "python -m conformance smoke -- dmcp {config}": _PEER,
    "python -m conformance run -- dmcp {config}": _PEER,
    "python -m conformance run --only CFG --report json=report.json -- dmcp {config}": _PEER,
    'pip install "./conformance-suite[conformance]"': _INSTALLS,
    "make": "builds the reader's proxy",
}

#: a whole run takes minutes, so a run without a selection is made with one requirement
_WHOLE_RUNS = (
    "conformance run --skip",
    "conformance run --profile my-proxy.toml --jobs",
    "conformance run --",
)
_ONE = "conformance run --only CFG-001"

_COMMANDS = {page: [command for step in steps(page) for command in step.commands] for page in PAGES}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Programs: those below and what a shell needs. Nothing else is on PATH, so nothing is reached by accident."""
    programs = {
        "python": sys.executable,
        "dynamic-mcp-conformance": f"{sys.executable} -m conformance",
        "my-proxy": MY_PROXY,
        "cat": "/bin/cat",
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, command in programs.items():
        file = folder / name
        # Checks do not pass the environment of the caller on.
        file.write_text(
            f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} "$@"\n', encoding="utf-8"
        )
        file.chmod(0o755)
    for name in ("home", "tmp", "page"):
        (tmp_path / name).mkdir()
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {
        **coverage,
        "PATH": str(folder),
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in PAGES if _COMMANDS[page]], ids=lambda page: page.name)
def test_the_commands_of_a_page(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    for step in steps(page):
        output = ""
        if step.file:
            (tmp_path / "page" / step.file).write_text(step.content, encoding="utf-8")
        for command in step.commands:
            if command not in LEFT_OUT:
                output += run(command, step.exit, f"{page.name}:{step.line}", environment, tmp_path / "page")
        lost = missing(step.output, output)
        assert lost is None, f"{page.name}:{step.line}: does not print: {lost}\nbut: {output}"


def run(command: str, status: int, where: str, environment: dict[str, str], folder: Path) -> str:
    """Run a command and return what it printed, on whichever stream."""
    done = subprocess.run(
        ["/bin/sh", "-c", shortened(command)],
        cwd=folder,
        env=environment,
        input="\n" * 20,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
    )
    assert done.returncode == status, f"{where}: {command}\n{done.stdout}"
    return done.stdout


def shortened(command: str) -> str:
    """The command, for one requirement if it would run all."""
    for beginning in _WHOLE_RUNS:
        if beginning in command and "--only" not in command:
            return command.replace("conformance run", _ONE, 1)
    return command


def test_everything_that_is_left_out_is_still_there() -> None:
    shown = {command for commands in _COMMANDS.values() for command in commands}
    assert sorted(set(LEFT_OUT) - shown) == []


def test_whole_runs_are_shortened_and_others_are_not() -> None:
    assert (
        shortened("python -m conformance run -- x {config}")
        == "python -m conformance run --only CFG-001 -- x {config}"
    )
    assert (
        shortened("python -m conformance run --only SSE -- x") == "python -m conformance run --only SSE -- x"
    )


def test_the_pages_have_commands() -> None:
    """Otherwise a change of the convention would leave nothing to try out."""
    assert sum(map(len, _COMMANDS.values())) > len(LEFT_OUT) + 10


@pytest.mark.parametrize(
    ("shown", "output", "lost"),
    [
        (["a 12", "b"], "a  7\nx\nb", None),
        (["b", "a"], "a\nb", "a"),
        (["of one", "line"], "of one line", None),
        (["nothing"], "", "nothing"),
    ],
)
def test_shown_lines_follow_each_other(shown: list[str], output: str, lost: str | None) -> None:
    assert missing(shown, output) == lost
