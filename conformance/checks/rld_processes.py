"""RLD: what a save ends of a server that it removes or changes, after a crash of the server and before its first answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.later_processes import STUBBORN, crash_and_use
from conformance.errors import Untestable, Violation
from mock_servers.script import Grandchild, Rule, crash, on_call, silence

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.workbench import Workbench

CRASHED, SILENT = "crashed", "silent"


async def must_end_old_processes(workbench: Workbench, *successors: StdioMockUpstream) -> None:
    """Raise `Violation` if processes stay after a save that removes two servers, or puts the successors in their places.

    One of the two, `CRASHED`, has started again after a crash. The other one, `SILENT`, never answers. Both stay until SIGKILL.
    """
    kept = workbench.stdio("kept")
    script = replace(STUBBORN, on=[on_call("add", crash())], grandchildren=[Grandchild()])
    crashed = workbench.stdio(CRASHED, script)
    silent = workbench.stdio(SILENT, replace(STUBBORN, on=[Rule("*", [silence()])]))
    config = workbench.config(kept, crashed, silent)
    async with workbench.proxy(kept, crashed, silent, config=config) as proxy:
        try:
            await proxy.handshake()
            await proxy.ready(kept, crashed)
        except Untestable as problem:
            proxy.may_end_by_itself()
            workbench.note(f"the proxy does not work beside a server that never answers: {problem.reason}")
            return
        await crash_and_use(proxy, crashed)
        await proxy.wake(SILENT)
        with suppress(Violation):
            await silent.started()
        workbench.save(config, kept, *successors)
        with workbench.must("the changed servers become usable"):
            await proxy.ready(*successors)
        with workbench.case("a server after a crash, and one that never answers"):
            for upstream in (crashed, silent):
                await upstream.gone(within=10.0)
