"""A child that hangs: it has read its input, and then does nothing."""

from __future__ import annotations

import sys

import anyio
import pytest

from dynamic_mcp.process import stuck
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.process.stuck import wait_stuck

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only /proc shows what a child does")

READS = "import sys, time; sys.stdin.readline()\n"


@pytest.mark.parametrize(
    ("code", "hangs"),
    [
        (f"{READS}time.sleep(60)", True),
        ("import time; time.sleep(60)", False),
        (f"{READS}while True: pass", False),
        (f"{READS}while True: print('working', file=sys.stderr, flush=True); time.sleep(0.1)", False),
    ],
    ids=["reads-and-hangs", "does-not-read", "computes", "talks"],
)
async def test_only_a_child_that_reads_and_then_does_nothing_hangs(
    code: str, hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "STUCK", 0.6)
    monkeypatch.setattr(stuck, "_POLL", 0.1)
    guard = Guard()
    child = Child(Launch((sys.executable, "-I", "-S", "-u", "-c", code), {}), guard)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(b"{}\n")
        with anyio.move_on_after(10.0 if hangs else 2.0) as scope:
            await wait_stuck(child, reads=False)
        assert scope.cancelled_caught is not hangs
    finally:
        child.kill()
        child.stdin.close()
        child.stdout.close()
        await child.terminate()
        await guard.close()
