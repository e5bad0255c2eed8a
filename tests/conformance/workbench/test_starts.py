"""A mock without the token belongs to the start of the program that began it, also after that program has gone."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from conformance.workbench.census import Census, Starts, managed_pids
from conformance.workbench.sandbox import TOKEN_VARIABLE
from tests.children import ANNOUNCE, wait_until_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: starts a mock with an empty environment, in a session of its own, and prints its pid after the mock has begun
PROGRAM = """
import subprocess, sys, time
mock = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'print(1, flush=True); import time; time.sleep(60)', sys.argv[1]],
    env={}, start_new_session=True, stdout=subprocess.PIPE)
mock.stdout.readline()
sys.stdin.readline()
"""


@contextmanager
def started(starts: Starts, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Census]]:
    token = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", "-c", PROGRAM + ANNOUNCE + "time.sleep(60)", str(folder / "mock")]
    environment = {"PATH": os.defpath, TOKEN_VARIABLE: token}
    popen = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    managed_pids.add(popen.pid)
    census = starts.census(token, popen.pid)
    assert popen.stdin is not None
    popen.stdin.write(b"\n")
    popen.stdin.flush()
    wait_until_here(popen)
    try:
        yield popen, census
    finally:
        popen.kill()
        popen.communicate()
        managed_pids.discard(popen.pid)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "programs"


async def test_an_orphan_without_token_that_no_look_saw_before_is_found(folder: Path) -> None:
    with started(Starts(folder), folder) as (program, census):
        program.kill()
        program.wait(5)
        assert len(census.alive()) == 1
        assert len(await census.end_all()) == 1
        assert census.alive() == []


async def test_an_orphan_belongs_to_its_own_start(folder: Path) -> None:
    starts = Starts(folder)
    with ExitStack() as stack:
        first, of_first = stack.enter_context(started(starts, folder))
        second, of_second = stack.enter_context(started(starts, folder))
        assert {len(of_first.alive()), len(of_second.alive())} == {2}
        third, of_third = stack.enter_context(started(starts, folder))
        first.kill()
        first.wait(5)
        # Older than the second program, and seen before.
        (orphan,) = of_first.alive()
        for program, census in ((second, of_second), (third, of_third)):
            assert program.pid in {process.pid for process in census.alive()}
            assert orphan not in census.alive()
        for census in (of_first, of_second, of_third):
            await census.end_all()


async def test_a_process_of_another_check_is_nobodys(folder: Path, tmp_path: Path) -> None:
    with started(Starts(tmp_path / "other"), folder) as (program, census):
        program.kill()
        program.wait(5)
        assert census.alive() == []
        assert len(await Census("no-such-token", folder).end_all()) == 1
