"""The table of processes is the same from /proc and from psutil."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.workbench import processes
from conformance.workbench.sandbox import TOKEN_VARIABLE
from tests.children import ANNOUNCE, wait_until_here

WAIT = ANNOUNCE + "import sys; sys.stdin.read()"


@pytest.fixture(params=["proc", "psutil"], autouse=True)
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "proc" and sys.platform != "linux":
        pytest.skip("only Linux has this /proc")
    monkeypatch.setattr(processes, "_HAS_PROC", request.param == "proc")


@contextmanager
def running(program: str, *, python: str = sys.executable, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that begins with `ANNOUNCE`, and has done that."""
    command = [python, "-I", "-S", "-c", program]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as popen:
        wait_until_here(popen)
        yield popen


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_has_its_parent_command_and_token() -> None:
    with running(WAIT, **{TOKEN_VARIABLE: "t"}) as popen:
        row = processes.table()[popen.pid]

        assert (row.ppid, row.lives, row.token) == (os.getpid(), True, "t")
        assert row.command == f"{sys.executable} -I -S -c {WAIT}"
        assert processes.born(popen.pid) == row.born


def test_leaves_out_this_process_and_its_ancestors() -> None:
    assert not {os.getpid(), os.getppid()} & processes.table().keys()


def test_execve_changes_command_and_token() -> None:
    after = [sys.executable, "-I", "-S", "-c", WAIT]
    program = f"{ANNOUNCE}import os, sys; sys.stdin.readline(); os.execve({after[0]!r}, {after!r}, {{{TOKEN_VARIABLE!r}: 't'}})"
    with running(program) as popen:
        before = processes.table()[popen.pid]
        assert before.token is None
        assert popen.stdin is not None
        popen.stdin.write(b"\n")
        popen.stdin.flush()

        wait_until_here(popen)
        row = processes.table()[popen.pid]
        assert (row.token, row.command) == ("t", " ".join(after))
        assert row.born == before.born


def test_an_ended_process_is_a_zombie_and_then_gone() -> None:
    with running(ANNOUNCE) as popen:
        # psutil may skip a process that is just ending.
        eventually(lambda: (row := processes.table().get(popen.pid)) is not None and not row.lives)
    assert popen.pid not in processes.table()
    assert processes.born(popen.pid) is None


def test_a_program_name_may_resemble_the_fields_of_stat(tmp_path: Path) -> None:
    python = tmp_path / "a) R 1 ("
    python.symlink_to(sys.executable)
    with running(WAIT, python=str(python)) as popen:
        row = processes.table()[popen.pid]

        assert (row.ppid, row.lives) == (os.getpid(), True)
        assert row.command.startswith(str(python))
