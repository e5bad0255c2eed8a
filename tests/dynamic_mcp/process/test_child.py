"""After ``terminate`` no process of the child's group is alive, even if the child resists."""

from __future__ import annotations

import asyncio
import os
import pty
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
# A helper in the background with its own pipes; it prints its pid once ``prepare`` has run.
HELPER = """
import subprocess, sys
helper = subprocess.Popen([sys.executable, "-I", "-S", "-c", "{prepare}\\nprint(flush=True)\\n{sleep}"],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
helper.stdout.readline()
print(helper.pid, flush=True)
"""
READY = "print(0, flush=True)"
UNTIL_EOF = "import sys; sys.stdin.read()"


PARENT = """
import asyncio, os, sys
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard

PROGRAM = '''
import os, sys
def refused(path):
    try:
        os.open(path, os.O_RDWR)
    except OSError:
        return "refused"
    return "opened"
# A session leader could get a terminal by opening it.
print(refused("/dev/tty"), refused(sys.argv[1]), refused("/dev/tty"), flush=True)
'''

async def main():
    guard = Guard()
    words = (sys.executable, "-I", "-S", "-c", PROGRAM, os.ttyname(0))
    child = Child(Launch(words, dict(os.environ)), guard)
    print((await asyncio.to_thread(child.stdout.readline)).decode(), "END", flush=True)
    child.stdin.close()
    await child.terminate()
    await guard.close()

asyncio.run(main())
"""


def helper(prepare: str = "") -> str:
    return HELPER.format(prepare=prepare, sleep=SLEEP)


@pytest.fixture(autouse=True)
def short_graces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits of ``terminate``."""
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


async def test_child_leads_its_own_session_and_group(start: Start) -> None:
    child = start(f"{READY}; {UNTIL_EOF}")
    await first_number(child)
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid != os.getpgrp()
    assert psutil.Process(child.pid).ppid() == os.getpid()


def test_child_cannot_reach_the_terminal_of_its_parent() -> None:
    """The parent leads a session with a terminal. The child cannot open `/dev/tty`, even after it opened the terminal by name."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PARENT])  # no shell
    try:
        words = b""
        while b"END" not in words:
            words += os.read(terminal, 4096)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert words.split() == [b"refused", b"opened", b"refused", b"END"]


async def test_child_gets_only_the_given_environment(start: Start) -> None:
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
async def test_terminate_escalates_only_as_needed(start: Start, program: str, status: str) -> None:
    child = start(program)
    await first_number(child)
    assert child.status() == "still running"
    close_stdin(child)

    await asyncio.wait_for(child.terminate(), WITHIN)

    assert child.status() == status
    assert child.has_exited
    assert not psutil.pid_exists(child.pid), "a zombie is left"


@pytest.mark.parametrize("prepare", ["", IGNORE_TERM], ids=["polite", "ignores SIGTERM"])
@pytest.mark.parametrize(
    "leader", [UNTIL_EOF, SLEEP, "sys.exit()"], ids=["leaves on EOF", "ignores EOF", "left before"]
)
async def test_terminate_ends_grandchildren(start: Start, leader: str, prepare: str) -> None:
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


async def test_leader_that_something_else_reaped_counts_as_failed(start: Start) -> None:
    child = start("pass")
    assert await asyncio.to_thread(os.waitpid, child.pid, 0) == (child.pid, 0)
    await asyncio.wait_for(child.wait_left(), WITHIN)

    assert (child.status(), child.has_failed) == ("exit code unknown", True)
    close_stdin(child)
    await asyncio.wait_for(child.terminate(), WITHIN)


async def test_exited_leader_is_not_reaped_before_its_group_is_gone(start: Start) -> None:
    child = start(f"{helper()}\nsys.exit(5)")
    await first_number(child)
    await asyncio.wait_for(child.wait_left(), WITHIN)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    close_stdin(child)
    await asyncio.wait_for(child.terminate(), WITHIN)
    assert child.status() == "exit code 5"
    assert not psutil.pid_exists(child.pid)


async def test_terminate_in_a_cancelled_scope_ends_the_group(start: Start) -> None:
    child = start(f"{IGNORE_TERM}; {READY}; {SLEEP}")
    await first_number(child)
    close_stdin(child)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await child.terminate()
    assert not psutil.pid_exists(child.pid)


async def test_kill_ends_the_whole_group(start: Start) -> None:
    child = start(f"{IGNORE_TERM}\n{helper(IGNORE_TERM)}\n{SLEEP}")
    grandchild = await first_number(child)
    child.kill()
    await asyncio.wait_for(child.wait_left(), WITHIN)
    await eventually(lambda: not is_alive(grandchild), "the end of the grandchild")


async def test_terminate_gives_up_on_a_child_that_no_signal_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KILL_GRACE", 0.3)
    child = start(f"{READY}; {SLEEP}")
    await first_number(child)
    close_stdin(child)
    began = asyncio.get_running_loop().time()

    with monkeypatch.context() as patched:
        # As if it were in a system call that no signal interrupts.
        patched.setattr(child, "signal_group", lambda number: None)
        await asyncio.wait_for(child.terminate(), WITHIN)

    assert is_alive(child.pid)
    waits = module.STDIN_GRACE + module.TERM_GRACE + 2 * module.KILL_GRACE
    assert asyncio.get_running_loop().time() - began >= waits - 0.1
    # So that the fixture ends and reaps it.
    module.live.add(child)


async def test_terminate_ends_no_other_group(start: Start) -> None:
    ended, other = start(f"{READY}; {SLEEP}"), start(f"{READY}; {SLEEP}")
    for child in (ended, other):
        await first_number(child)
    close_stdin(ended)
    await asyncio.wait_for(ended.terminate(), WITHIN)
    assert is_alive(other.pid)
    assert not other.has_exited


async def test_second_terminate_does_nothing(start: Start) -> None:
    child = start(f"{READY}; {UNTIL_EOF}")
    await first_number(child)
    close_stdin(child)
    await asyncio.wait_for(child.terminate(), WITHIN)
    await asyncio.wait_for(child.terminate(), WITHIN)
    assert child.status() == "exit code 0"


@pytest.mark.parametrize("command", ["/nowhere/at/all", "", os.devnull])
async def test_unstartable_command_raises_os_error(guard: Guard, command: str) -> None:
    before = set(module.live)
    with pytest.raises(OSError):
        Child(Launch((command,), {}), guard)
    assert set(module.live) == before


@pytest.mark.parametrize(
    ("argv", "environment"), [(["a\0b"], {}), (["true"], {"A": "\0"}), (["true"], {"A=B": "c"})]
)
async def test_invalid_words_and_variables_raise_value_error(
    guard: Guard, argv: list[str], environment: dict[str, str]
) -> None:
    with pytest.raises(ValueError):
        Child(Launch(tuple(argv), environment), guard)


@pytest.mark.parametrize("program", [f"{READY}; {UNTIL_EOF}", SLEEP])
async def test_group_is_alive(start: Start, program: str) -> None:
    child = start(program)
    assert module.group_is_alive(child.pid)
    child.kill()
    close_stdin(child)
    await asyncio.wait_for(child.wait_left(), WITHIN)
    # A zombie, still unreaped.
    assert not module.group_is_alive(child.pid)
