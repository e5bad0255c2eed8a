"""After ``terminate`` nothing of the child's process group lives, whatever the child does to stay."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable

import anyio
import psutil
import pytest

from dynamic_mcp.process import child as module
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive

SLEEP = "import time; time.sleep(60)"
IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
# A helper in the background, with pipes of its own; says its pid once it is as stubborn as it is to be.
HELPER = """
import subprocess, sys
helper = subprocess.Popen([sys.executable, "-I", "-S", "-c", "{prepare}\\nprint(flush=True)\\n{sleep}"],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
helper.stdout.readline()
print(helper.pid, flush=True)
"""
READY = "print(0, flush=True)"
UNTIL_EOF = "import sys; sys.stdin.read()"


def helper(prepare: str = "") -> str:
    return HELPER.format(prepare=prepare, sleep=SLEEP)


@pytest.fixture(autouse=True)
def short_graces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of the way out is taken, none takes long."""
    monkeypatch.setattr(module, "STDIN_GRACE", 0.3)
    monkeypatch.setattr(module, "TERM_GRACE", 0.3)


Start = Callable[[str], Child]


@pytest.fixture
async def start(guard: Guard) -> AsyncIterator[Start]:
    started: list[Child] = []

    def start(program: str) -> Child:
        child = Child(Launch((sys.executable, "-I", "-S", "-c", program), {"PATH": os.defpath}), guard)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        close_stdin(child)
        await child.terminate()
        if child.stdout is not None:
            child.stdout.close()


def close_stdin(child: Child) -> None:
    if child.stdin is not None:
        child.stdin.close()


async def first_number(child: Child) -> int:
    """The number in the first line that the child prints."""
    assert child.stdout is not None
    return int(await asyncio.wait_for(asyncio.to_thread(child.stdout.readline), WITHIN))


async def test_a_child_leads_a_group_of_its_own_and_is_no_other_session(start: Start) -> None:
    child = start(f"{READY}; {UNTIL_EOF}")
    await first_number(child)
    assert os.getpgid(child.pid) == child.pid != os.getpgrp()
    assert psutil.Process(child.pid).ppid() == os.getpid()


async def test_a_child_gets_the_given_environment_and_no_other(start: Start) -> None:
    child = start("import os; print(int(set(os.environ) <= {'PATH', 'LC_CTYPE'}), flush=True)")
    assert await first_number(child) == 1


@pytest.mark.parametrize(
    ("program", "status"),
    [
        (f"{READY}; {UNTIL_EOF}", "exit code 0"),
        (f"{READY}; {UNTIL_EOF}; sys.exit(3)", "exit code 3"),
        (f"{READY}; {SLEEP}", "killed by SIGTERM"),
        (f"{IGNORE_TERM}; {READY}; {SLEEP}", "killed by SIGKILL"),
        (f"{IGNORE_TERM}; {READY}; {UNTIL_EOF}; {SLEEP}", "killed by SIGKILL"),
    ],
    ids=[
        "leaves on EOF",
        "leaves with a status",
        "ignores EOF",
        "ignores EOF and SIGTERM",
        "reads, ignores both",
    ],
)
async def test_a_child_is_ended_as_politely_as_it_lets_us(start: Start, program: str, status: str) -> None:
    child = start(program)
    await first_number(child)
    assert child.status() == "still running"
    close_stdin(child)

    await asyncio.wait_for(child.terminate(), WITHIN)

    assert child.status() == status
    assert child.has_left
    assert not psutil.pid_exists(child.pid), "a zombie is left"


@pytest.mark.parametrize("prepare", ["", IGNORE_TERM], ids=["polite", "ignores SIGTERM"])
@pytest.mark.parametrize(
    "leader", [UNTIL_EOF, SLEEP, "sys.exit()"], ids=["leaves on EOF", "ignores EOF", "left before"]
)
async def test_a_grandchild_is_ended_with_the_group(start: Start, leader: str, prepare: str) -> None:
    child = start(f"{helper(prepare)}\n{leader}")
    grandchild = await first_number(child)
    assert os.getpgid(grandchild) == child.pid
    if leader.startswith("sys"):
        await asyncio.wait_for(child.wait_left(), WITHIN)
        assert is_alive(grandchild)
    close_stdin(child)

    await asyncio.wait_for(child.terminate(), WITHIN)

    assert not is_alive(grandchild)
    assert not psutil.pid_exists(child.pid), "a zombie is left"


async def test_a_leader_that_left_keeps_its_pid_until_its_group_is_gone(start: Start) -> None:
    child = start(f"{helper()}\nsys.exit(5)")
    await first_number(child)
    await asyncio.wait_for(child.wait_left(), WITHIN)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    close_stdin(child)
    await asyncio.wait_for(child.terminate(), WITHIN)
    assert child.status() == "exit code 5"
    assert not psutil.pid_exists(child.pid)


async def test_a_cancelled_scope_still_ends_the_group(start: Start) -> None:
    child = start(f"{IGNORE_TERM}; {READY}; {SLEEP}")
    await first_number(child)
    close_stdin(child)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await child.terminate()
    assert not psutil.pid_exists(child.pid)


async def test_kill_ends_every_process_of_the_group_at_once(start: Start) -> None:
    child = start(f"{IGNORE_TERM}\n{helper(IGNORE_TERM)}\n{SLEEP}")
    grandchild = await first_number(child)
    child.kill()
    await asyncio.wait_for(child.wait_left(), WITHIN)
    await eventually(lambda: not is_alive(grandchild), "the end of the grandchild")


async def test_no_other_group_is_touched(start: Start) -> None:
    ended, other = start(f"{READY}; {SLEEP}"), start(f"{READY}; {SLEEP}")
    for child in (ended, other):
        await first_number(child)
    close_stdin(ended)
    await asyncio.wait_for(ended.terminate(), WITHIN)
    assert is_alive(other.pid)
    assert not other.has_left


async def test_ending_twice_is_ending_once(start: Start) -> None:
    child = start(f"{READY}; {UNTIL_EOF}")
    await first_number(child)
    close_stdin(child)
    await asyncio.wait_for(child.terminate(), WITHIN)
    await asyncio.wait_for(child.terminate(), WITHIN)
    assert child.status() == "exit code 0"


@pytest.mark.parametrize("command", ["/nowhere/at/all", "", os.devnull])
async def test_a_command_that_cannot_be_started_is_an_os_error(guard: Guard, command: str) -> None:
    before = set(module.live)
    with pytest.raises(OSError):
        Child(Launch((command,), {}), guard)
    assert set(module.live) == before


@pytest.mark.parametrize(
    ("argv", "environment"), [(["a\0b"], {}), (["true"], {"A": "\0"}), (["true"], {"A=B": "c"})]
)
async def test_what_no_process_can_be_given_is_a_value_error(
    guard: Guard, argv: list[str], environment: dict[str, str]
) -> None:
    with pytest.raises(ValueError):
        Child(Launch(tuple(argv), environment), guard)


@pytest.mark.parametrize("program", [f"{READY}; {UNTIL_EOF}", SLEEP])
async def test_a_group_that_is_alive_is_seen_and_a_gone_one_is_not(start: Start, program: str) -> None:
    child = start(program)
    assert module.group_is_alive(child.pid)
    child.kill()
    close_stdin(child)
    await asyncio.wait_for(child.wait_left(), WITHIN)
    # A zombie, still unreaped.
    assert not module.group_is_alive(child.pid)
