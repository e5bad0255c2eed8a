"""Whether a process lives, by /proc and by ps: its mark must match, and a zombie counts as dead."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mock_servers import processes
from mock_servers.processes import alive, kill

SLEEPS = "import time; print(flush=True); time.sleep(30)"


@contextmanager
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with the mark. It has begun to run, because a process has no command line in the middle of its start."""
    command = [sys.executable, "-c", SLEEPS, "a-mark-of-its-own"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(params=[Path("/proc"), Path("/missing")], ids=["proc", "ps"], autouse=True)
def _source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param.exists() and shutil.which("ps") is None:
        pytest.skip("ps is missing")
    monkeypatch.setattr(processes, "_PROC", request.param)


def test_process_counts_only_with_its_mark() -> None:
    with sleeping() as process:
        assert alive([process.pid], "a-mark-of-its-own") == [process.pid]
        assert alive([process.pid, os.getpid()], "another-mark") == []
    assert alive([process.pid], "a-mark-of-its-own") == []


def test_zombie_counts_as_dead() -> None:
    # The process stays a zombie until the end of the block, which collects its status.
    with sleeping() as process:
        assert kill([process.pid], "a-mark-of-its-own", within=20) == []
        assert process.returncode is None


def test_kill_returns_the_survivors(monkeypatch: pytest.MonkeyPatch) -> None:
    with sleeping() as process, monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number: None)
        assert kill([process.pid], "a-mark-of-its-own", within=0.1) == [process.pid]
        patch.undo()
