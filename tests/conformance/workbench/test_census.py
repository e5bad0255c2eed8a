"""The census finds and ends every process of a check, even one that hides or resists."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest

from conformance.workbench.census import Census, adopt_orphans, managed_pids
from conformance.workbench.sandbox import TOKEN_VARIABLE
from tests.children import ANNOUNCE, wait_until_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture
def token() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def census(token: str) -> Census:
    return Census(token)


@pytest.fixture
def start(token: str) -> Iterator[Starter]:
    starter = Starter(token)
    yield starter
    for popen in starter.started:
        popen.kill()
        popen.wait(5)
        if popen.stdout is not None:
            popen.stdout.close()
        managed_pids.discard(popen.pid)


class Starter:
    """Starts Python programs that carry the token, and waits until each has begun."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.started: list[subprocess.Popen[bytes]] = []

    def __call__(self, program: str, *args: str, token: bool = True) -> subprocess.Popen[bytes]:
        env = {"PATH": os.defpath, **({TOKEN_VARIABLE: self.token} if token else {})}
        command = [sys.executable, "-I", "-S", "-c", ANNOUNCE + program, *args]
        popen = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        managed_pids.add(popen.pid)
        self.started.append(popen)
        wait_until_here(popen)
        return popen


def child_of(program: str, *, env: str = "{}", then: str = WAIT) -> str:
    """A program that starts another one without the parent's environment, then does something itself."""
    spawn = f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {program!r}], env={env}, start_new_session=True)"
    return f"import subprocess, sys\n{spawn}\n{then}"


async def wait_for(what: str, census: Census, count: int) -> list[int]:
    deadline = time.monotonic() + 5
    while len(found := census.alive()) != count:
        assert time.monotonic() < deadline, f"{what}: {found}"
        await anyio.sleep(0.01)
    return [process.pid for process in found]


async def test_only_a_process_with_the_token_is_found(census: Census, start: Starter) -> None:
    ours, other = start(WAIT), start(WAIT, token=False)
    assert [process.pid for process in census.alive()] == [ours.pid]
    await census.end_all()
    assert ours.wait(5) == -9
    assert other.poll() is None


async def test_a_token_with_the_same_beginning_is_another_token(token: str, start: Starter) -> None:
    start(WAIT)
    assert Census(token[:-1]).alive() == []
    assert Census(f"{token}.1").alive() == []


async def test_a_process_that_names_the_sandbox_is_found(start: Starter, tmp_path: Path) -> None:
    popen = start(WAIT, str(tmp_path / "journal.jsonl"), token=False)
    assert [process.pid for process in Census("no-such-token", tmp_path).alive()] == [popen.pid]


async def test_a_descendant_without_token_in_a_session_of_its_own_is_found(
    census: Census, start: Starter
) -> None:
    start(child_of(STUBBORN))
    await wait_for("parent and child", census, 2)
    killed = await census.end_all()
    assert len(killed) == 2
    assert census.alive() == []


async def test_an_orphan_stays_found(census: Census, start: Starter) -> None:
    parent = start(child_of(WAIT))
    pids = await wait_for("parent and child", census, 2)
    parent.kill()
    parent.wait(5)
    (orphan,) = [pid for pid in pids if pid != parent.pid]
    assert [process.pid for process in census.alive()] == [orphan]
    await census.end_all()
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


async def test_a_zombie_counts_as_dead(census: Census, start: Starter) -> None:
    popen = start("pass")
    deadline = time.monotonic() + 5
    while psutil.Process(popen.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        await anyio.sleep(0.01)
    assert census.alive() == []


async def test_a_process_that_keeps_forking_is_ended(census: Census, start: Starter) -> None:
    forking = "import os, time\nfor _ in range(200):\n    if os.fork(): time.sleep(0.05); os._exit(0)\n    os.setsid()"
    start(forking)
    await census.end_all()
    assert census.alive() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux gives orphans to a subreaper")
async def test_collects_dead_orphans_but_not_the_status_of_a_popen(census: Census, start: Starter) -> None:
    assert adopt_orphans()
    parent = start(child_of(WAIT))
    pids = await wait_for("parent and child", census, 2)
    await census.end_all()
    (orphan,) = [pid for pid in pids if pid != parent.pid]
    deadline = time.monotonic() + 5
    while psutil.pid_exists(orphan):
        assert time.monotonic() < deadline
        census.collect_dead()
        await anyio.sleep(0.01)
    assert parent.wait(5) == -9
