"""The documented sandbox runs a server: with the real program where it is installed, and with a stand-in everywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT

# Reads the options of bubblewrap that the page uses, records them, and runs the rest.
STAND_IN = """#!{python}
import json, os, sys
ARGUMENTS = {{"--ro-bind": 2, "--dev": 1, "--proc": 1, "--tmpfs": 1, "--bind": 2, "--unshare-all": 0, "--die-with-parent": 0}}
words, options = sys.argv[1:], []
while words[0].startswith("--"):
    end = 1 + ARGUMENTS[words[0]]
    options.append(words[:end])
    words = words[end:]
json.dump(options, open({log!r}, "w"))
os.execvp(words[0], words)
"""
# Tries to write outside of the project, and to reach the terminal and other processes.
SERVER = """#!/bin/sh
{{ touch "$HOME/escaped" || kill -0 {pid} || (echo > /dev/tty); }} 2>/dev/null && touch "$1/escaped"
touch "$1/inside"
exec {python} -I -S {main} stdio
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the documented configuration, the server that it names, and a HOME beside it."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    (block,) = (text for text in re.findall(r"^```json\n(.*?)^```", page, re.M | re.S) if '"bwrap"' in text)
    project = tmp_path / "project"
    (project / "bin").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (project / "config.json").write_text(block)
    server = SERVER.format(python=sys.executable, main=ROOT / "mock_servers" / "__main__.py", pid=os.getpid())
    write_program(project / "bin" / "mcp-server-filesystem", server)
    return project


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def checked(project: Path) -> dict[str, object]:
    """The report about the only server, which the command starts."""
    environment = {
        "HOME": str(project.parent / "home"),
        "PATH": f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PROJECT_DIR": str(project),
    }
    command = [
        sys.executable,
        "-m",
        "dynamic_mcp",
        "check",
        str(project / "config.json"),
        "--connect",
        "--json",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    connected: dict[str, object] = json.loads(done.stdout)["servers"][0]["connected"]
    return connected


def test_documented_prefix_runs_the_server(project: Path) -> None:
    log = project / "options.json"
    write_program(project / "bin" / "bwrap", STAND_IN.format(python=sys.executable, log=str(log)))

    report = checked(project)

    assert report["ok"], report
    assert (project / "inside").exists()
    assert ["--bind", str(project), str(project)] in json.loads(log.read_text())


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")
def test_documented_sandbox_keeps_the_server_inside(project: Path) -> None:
    usable = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], check=False)
    if usable.returncode != 0:
        pytest.skip("the system does not allow bubblewrap to make namespaces")

    report = checked(project)

    assert report["ok"], report
    assert (project / "inside").exists()
    assert list((project.parent / "home").glob("escaped*")) == []
    assert not (project / "escaped").exists()


def test_missing_sandbox_program_never_starts_the_server(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PATH", os.defpath if shutil.which("bwrap", path=os.defpath) is None else "/nonexistent"
    )

    report = checked(project)

    assert "bwrap" in str(report["failure"])
    assert not (project / "inside").exists()
