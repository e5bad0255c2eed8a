"""OPS: a server that kills the helper processes of the proxy."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from mock_servers.hostile.texts import kills_its_siblings

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: seconds for a replacement
_REPLACED = 2.0


@check("OPS-015", timeout=40, slow=True)
async def a_server_that_kills_helpers_does_not_outlive_the_proxy(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", kills_its_siblings())
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        for number in (1, 2):
            before = _helpers(proxy, upstream)
            with workbench.case(f"attack {number}"):
                answer = await proxy.call("a", "attack")
                workbench.expect(not answer.is_error, "the server still answers", answer.raw)
                with workbench.precondition("the server has tried to kill"):
                    tries = upstream.events("killed")
                    workbench.expect(len(tries) == number, f"{number} entries in its journal", tries)
            if tries[-1].data["pids"]:
                with anyio.move_on_after(_REPLACED):
                    while not _helpers(proxy, upstream) - before:  # noqa: ASYNC110 - no event tells of a process
                        await anyio.sleep(0.02)
            # The answer comes after everything that the proxy does at the start of a helper.
            await proxy.call("a", "echo")
        with workbench.precondition("the server and its child are alive"):
            alive = {process.pid for process in proxy.processes.alive()}
            workbench.expect(set(upstream.pids) <= alive, f"{upstream.pids} are alive", alive)
        proxy.signal(signal.SIGKILL)
        await workbench.no_process_left(proxy, within=8.0)


def _helpers(proxy: Proxy, upstream: StdioMockUpstream) -> set[int]:
    return {process.pid for process in proxy.processes.alive()} - {proxy.pid, *upstream.pids}
