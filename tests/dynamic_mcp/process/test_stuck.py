"""A child that hangs: it has read its input, and then does nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamic_mcp.clock import Clock
from dynamic_mcp.process import stuck
from dynamic_mcp.process.activity import processor_seconds
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.pipes import unread_bytes
from dynamic_mcp.process.stuck import wait_stuck

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only /proc shows what a child does")

STUCK = 0.4
#: reads only after the first look, which so sees that something waits for the child
READS = """import os, sys, time
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
sys.stdin.readline()
"""
LINE, PAUSE = "working\n", 0.1


def processor_clock(child: Child) -> Clock:
    """The processor time of the child. So a machine under load, which gives it none, does not make it look idle."""

    def now() -> float:
        seconds = processor_seconds([child.pid])
        assert seconds is not None
        return seconds[child.pid]

    return now


def clock_of_lines(child: Child) -> Clock:
    """The pauses between the lines of the child, for the same reason."""
    assert child.stderr_tail is not None
    tail = child.stderr_tail
    return lambda: tail.written / len(LINE) * PAUSE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "clock_of", "hangs"),
    [
        (f"{READS}time.sleep(60)", lambda child: time.monotonic, True),
        ("import time; time.sleep(60)", lambda child: time.monotonic, False),
        (f"{READS}while True: pass", processor_clock, False),
        (
            f"{READS}while True: sys.stderr.write({LINE!r}); sys.stderr.flush(); time.sleep({PAUSE})",
            clock_of_lines,
            False,
        ),
    ],
    ids=["reads-and-hangs", "does-not-read", "computes", "talks"],
)
async def test_only_a_child_that_reads_and_then_does_nothing_hangs(
    code: str,
    clock_of: Callable[[Child], Clock],
    hangs: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = tmp_path / "looked"

    def look(pipe: object) -> int | None:
        unread = unread_bytes(pipe)
        looked.touch()
        return unread

    monkeypatch.setattr(stuck, "STUCK", STUCK)
    monkeypatch.setattr(stuck, "_POLL", 0.1)
    monkeypatch.setattr(stuck, "unread_bytes", look)
    guard = Guard()
    child = Child(Launch((sys.executable, "-I", "-S", "-u", "-c", code, str(looked)), {}), guard)
    assert child.stdin is not None
    assert child.stdout is not None
    clock = clock_of(child)
    try:
        child.stdin.write(b"{}\n")
        end = clock() + 3 * STUCK
        waiting = asyncio.create_task(wait_stuck(child, reads=False, clock=clock))
        while not waiting.done() and (hangs or clock() < end):  # noqa: ASYNC110 - no event tells of these clocks
            await asyncio.sleep(0.05)
        assert waiting.done() is hangs
        waiting.cancel()
    finally:
        child.kill()
        child.stdin.close()
        child.stdout.close()
        await child.terminate()
        await guard.close()
