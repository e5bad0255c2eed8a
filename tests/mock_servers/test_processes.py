"""Who lives, by /proc and by ps: the program counts, not the number, and a zombie is dead."""

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
    """A process with the mark, which has begun to run: in the middle of its start it has no command line at all."""
    command = [sys.executable, "-c", SLEEPS, "a-mark-of-its-own"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(params=[Path("/proc"), Path("/there/is/none")], ids=["proc", "ps"], autouse=True)
def _source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param.exists() and shutil.which("ps") is None:
        pytest.skip("there is no ps")
    monkeypatch.setattr(processes, "_PROC", request.param)


def test_a_process_lives_under_its_own_mark_only() -> None:
    with sleeping() as process:
        assert alive([process.pid], "a-mark-of-its-own") == [process.pid]
        assert alive([process.pid, os.getpid()], "another-mark") == []
    assert alive([process.pid], "a-mark-of-its-own") == []


def test_a_zombie_is_dead_and_ends_the_wait() -> None:
    # Nobody collects its status before the end of the block.
    with sleeping() as process:
        assert kill([process.pid], "a-mark-of-its-own", within=20) == []
        assert process.returncode is None


def test_who_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with sleeping() as process, monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number: None)
        assert kill([process.pid], "a-mark-of-its-own", within=0.1) == [process.pid]
        patch.undo()
