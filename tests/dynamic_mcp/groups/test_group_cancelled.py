"""A group that is cancelled at any moment of its start leaves no process and raises no error."""

from __future__ import annotations

import sys

import anyio
import anyio.lowlevel
import psutil
import pytest

from dynamic_mcp.config.model import Features, Server, StdioTransport, Timeouts
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.process import child as module
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.stdio import plain_launch
from dynamic_mcp.upstream.stdio_connector import StdioConnector
from tests.dynamic_mcp.helpers import WITHIN, is_alive

SILENT = StdioTransport(sys.executable, ("-I", "-S", "-c", "import sys; sys.stdin.read()"), ())


async def cancelled_after(turns: int) -> set[psutil.Process]:
    """Run a group for this many turns of the event loop; the processes that it had by then."""
    guard = Guard()
    group = Group(
        Server("a", "d", SILENT, Features(), Timeouts()),
        StdioConnector(SILENT, guard, plain_launch),
        Relay(ClientSession(lambda line: None), {}),
        Hooks(),
    )
    before = set(psutil.Process().children())
    with anyio.fail_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group.run)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            started = set(psutil.Process().children()) - before
            helper = guard.pid
            tasks.cancel_scope.cancel()
        await guard.close()
    return {process for process in started if process.pid != helper}


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_cancel_during_start_leaves_no_process(uvloop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STDIN_GRACE", 0.05)
    if uvloop:
        pytest.importorskip("uvloop")
    counts = []
    for turns in range(9):
        started = anyio.run(cancelled_after, turns, backend_options={"use_uvloop": uvloop})
        counts.append(len(started))
        assert [process for process in started if is_alive(process.pid)] == [], f"after {turns} turns"
    assert 1 in counts, "no cancellation came during a start"
