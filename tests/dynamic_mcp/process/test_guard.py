"""The guard learns of each group before its program runs, and of its end before the id is free."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dynamic_mcp.process import guard as module
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import SCRIPT, Guard
from mock_servers.journal import read_journal
from mock_servers.script import Grandchild, Script
from tests.dynamic_mcp.helpers import eventually
from tests.wire import Wire

WITHIN = 8.0
REPLACED = "another helper runs"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has job objects instead")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(*pids: int) -> None:
    end = time.monotonic() + WITHIN
    while left := [pid for pid in pids if lives(pid)]:
        assert time.monotonic() < end, f"still alive: {left}"
        time.sleep(0.02)


def wait_for_journals(*journals: Path) -> None:
    end = time.monotonic() + WITHIN
    while not all(journal.exists() and read_journal(journal) for journal in journals):
        assert time.monotonic() < end, "the servers did not start"
        time.sleep(0.02)


def helper_of(guard: Guard) -> psutil.Process:
    assert guard.pid is not None
    return psutil.Process(guard.pid)


def has_other(guard: Guard, helper: psutil.Process) -> bool:
    return guard.pid not in (None, helper.pid)


STUBBORN = [
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal,time; signal.signal(15, 1); print(1, flush=True); time.sleep(60)",
]


Starter = Callable[[], Child]


@pytest.fixture
async def start(guard: Guard) -> AsyncIterator[Starter]:
    """Starts a child that ignores SIGTERM, and waits until it does."""
    children = []

    def started() -> Child:
        child = Child(Launch(tuple(STUBBORN), dict(os.environ)), guard)
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield started
    for child in children:
        child.kill()
        await child.terminate()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


@pytest.mark.slow
async def test_close_ends_the_known_groups(guard: Guard, start: Starter) -> None:
    child = start()
    helper = helper_of(guard)
    await guard.close()
    wait_gone(child.pid, helper.pid)


async def test_forgotten_group_is_not_signalled(guard: Guard, start: Starter) -> None:
    child = start()
    guard.forget(child.pid)
    helper = helper_of(guard)
    await guard.close()
    wait_gone(helper.pid)
    assert lives(child.pid)


async def test_failed_start_leaves_no_group() -> None:
    async def seconds_to_close() -> float:
        guard = Guard()
        with pytest.raises(FileNotFoundError):
            Child(Launch(("/nonexistent",), dict(os.environ)), guard)
        helper = helper_of(guard)
        began = time.monotonic()
        await guard.close()
        wait_gone(helper.pid)
        return time.monotonic() - began

    # Each helper that has a group to end waits at least a second. The shortest of several times is that of a moment when the machine is
    # not busy.
    assert min([await seconds_to_close() for _ in range(4)]) < 0.9


@pytest.mark.slow
async def test_killed_helper_is_replaced_and_learns_all_groups(guard: Guard, start: Starter) -> None:
    first = start()
    helper = helper_of(guard)
    helper.kill()
    helper.wait(WITHIN)
    second = start()
    await guard.close()
    wait_gone(first.pid, second.pid)


async def test_killed_helper_is_replaced_without_a_further_start(guard: Guard, start: Starter) -> None:
    start()
    for _ in range(3):
        helper = helper_of(guard)
        began = time.monotonic()
        helper.kill()
        await eventually(partial(has_other, guard, helper), REPLACED)
        assert time.monotonic() - began < 1.0


@pytest.mark.slow
async def test_helper_that_is_killed_again_and_again_starts_at_intervals(
    guard: Guard, start: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    start()
    seen: set[int] = set()
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        if (pid := guard.pid) is not None:
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.002)

    assert 2 <= len(seen) <= 1.0 / module.MIN_LIFE + 2
    assert [r.levelname for r in caplog.records if "process guard" in r.message].count("WARNING") == 1


async def test_closed_guard_gets_no_other_helper(guard: Guard, start: Starter) -> None:
    child = start()
    guard.forget(child.pid)
    helper_of(guard).kill()
    await guard.close()
    await asyncio.sleep(2 * module.MIN_LIFE)
    assert guard.pid is None


@pytest.mark.slow
async def test_helper_that_stopped_reading_is_replaced(guard: Guard, start: Starter) -> None:
    child = start()
    stopped = helper_of(guard)
    stopped.suspend()
    for _ in range(20_000):
        guard.forget(0)
    await eventually(partial(has_other, guard, stopped), REPLACED)
    await guard.close()
    wait_gone(child.pid, stopped.pid)


@pytest.mark.slow
async def test_helper_that_cannot_start_now_starts_later(
    guard: Guard, start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = subprocess.Popen, [OSError(24, "Too many open files")]

    def popen(*args: Any, **named: Any) -> subprocess.Popen[bytes]:
        if args[0][0] == "/bin/sh" and failures:
            raise failures.pop()
        return real(*args, **named)

    monkeypatch.setattr(subprocess, "Popen", popen)
    child = start()
    assert guard.pid is None
    await eventually(lambda: guard.pid is not None, REPLACED)
    await guard.close()
    wait_gone(child.pid)


@pytest.mark.slow
def test_killed_proxy_leaves_no_process(tmp_path: Path) -> None:
    """The servers ignore everything, and SIGKILL hits the proxy at moments around their start. The journals name their processes."""
    stubborn = Script(
        ignore_eof=True, ignore_sigterm=True, linger=60.0, grandchildren=[Grandchild(ignore_sigterm=True)]
    )
    members: list[int] = []
    # The last proxy is killed only once its servers run, even on a slow machine.
    for delay in (0.1, 0.15, 0.2, 0.3, None):
        folder = tmp_path / str(delay)
        folder.mkdir()
        with Wire(folder, a=stubborn, b=stubborn) as wire:
            wire.write(b'{"jsonrpc":"2.0","id":0,"method":"initialize"}\n')
            if delay is None:
                wait_for_journals(folder / "a.journal", folder / "b.journal")
            else:
                time.sleep(delay)
            members += [one.pid for one in psutil.Process(wire.process.pid).children(recursive=True)]
            wire.process.send_signal(signal.SIGKILL)
            wire.process.wait()
    assert members
    wait_gone(*members)
    wait_gone(*(entry.pid for journal in tmp_path.glob("*/*.journal") for entry in read_journal(journal)))


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_helper_runs_in_any_posix_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    with subprocess.Popen(["sleep", "60"], process_group=0) as sleeper:
        try:
            groups = b"+ %d\n=\n" % sleeper.pid
            subprocess.run([shell, "-c", SCRIPT, "guard"], input=groups, timeout=WITHIN, check=False)
            assert sleeper.poll() == -signal.SIGTERM
        finally:
            sleeper.kill()
