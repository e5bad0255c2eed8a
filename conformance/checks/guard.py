"""GUARD: nothing that the proxy started survives it, however it ends.

A token in the environment of a process shows that it belongs to the proxy, helpers included. The upstreams
ignore everything that they can ignore, since one that leaves by itself proves nothing.
"""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.later_processes import STUBBORN, endings
from conformance.errors import Untestable, Violation
from mock_servers.script import Grandchild, Rule, Script, silence

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: never answers; it and its grandchild stay after end of file on stdin
SILENT = Script(on=[Rule("*", [silence()])], ignore_eof=True, grandchildren=[Grandchild()])

STARTS = 20
AT_A_TIME = 4


@check("GUARD-001", timeout=90, slow=True)
async def sigkill_of_the_proxy_leaves_no_process_behind(workbench: Workbench) -> None:
    """The way is open: a helper, a pipe, or a feature of the platform. In dash, `kill -TERM -- -ID` is an error; `kill -s TERM -- -ID`
    works in every POSIX shell.
    """

    async def must_leave_nothing(proxy: Proxy, upstreams: list[StdioMockUpstream]) -> None:
        proxy.signal(signal.SIGKILL)
        # A guard may end the servers one after another.
        await workbench.no_process_left(proxy, within=4.0 * (len(upstreams) + 1))

    async def first_processes() -> None:
        upstreams = [workbench.stdio("a", STUBBORN), workbench.stdio("b", STUBBORN)]
        async with workbench.proxy(*upstreams) as proxy:
            await proxy.handshake()
            await proxy.ready(*upstreams)
            alive = {process.pid for process in proxy.processes.alive()}
            members = {pid for upstream in upstreams for pid in upstream.pids}
            with workbench.precondition("both upstreams and both grandchildren are alive"):
                workbench.expect(len(members) >= 4 and members <= alive, f"{members} are alive", alive)
            proxy.signal(signal.SIGKILL)
            await workbench.no_process_left(proxy, within=8.0)

    await workbench.run_cases(first_processes, *endings(workbench, must_leave_nothing))


@check("GUARD-002", timeout=90, slow=True)
async def a_cancelled_start_leaves_no_process_behind(workbench: Workbench) -> None:
    took = await _seconds_until_the_upstream_runs(workbench)
    # A slow machine starts later, but the moments must be on both sides of the upstream's start.
    moments = [max(0.6, 2 * took) * number / (STARTS - 1) for number in range(STARTS)]
    upstreams = [workbench.stdio(f"a{number}", SILENT) for number in range(STARTS)]
    places = anyio.Semaphore(AT_A_TIME)

    async def one(number: int) -> None:
        async with places, workbench.proxy(upstreams[number]) as proxy:
            await _start_for(moments[number], proxy, upstreams[number])
            if number % 2:
                proxy.signal(signal.SIGTERM)
            else:
                await proxy.end()
            with workbench.case(
                f"{'SIGTERM' if number % 2 else 'end of file'} after {moments[number]:.2f} s"
            ):
                await workbench.no_process_left(proxy, within=10.0)

    await workbench.run_cases(*(partial(one, number) for number in range(STARTS)))
    with workbench.precondition("some upstreams have started"):
        started = [upstream.name for upstream in upstreams if upstream.starts]
        workbench.expect(len(started) >= 3, "at least three of them", started)


async def _seconds_until_the_upstream_runs(workbench: Workbench) -> float:
    upstream = workbench.stdio("first", SILENT)
    async with workbench.proxy(upstream) as proxy:
        began = time.monotonic()
        async with anyio.create_task_group() as driver:
            driver.start_soon(_start_for, 15.0, proxy, upstream)
            with workbench.precondition("an upstream that does not answer starts"):
                start = await upstream.started(within=10.0)
            driver.cancel_scope.cancel()
    return start.t - began


async def _start_for(seconds: float, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Let the start continue for this long, as for a client that wants to use the upstream."""
    with anyio.move_on_after(seconds):
        try:
            await proxy.handshake(within=seconds + 5.0)
            await proxy.tools_of(upstream.name, within=seconds + 5.0)
        except (Untestable, Violation):
            pass  # only the processes count, not what the client sees
        await anyio.sleep_forever()
