"""OPS-060: a proxy that has nothing to do.

Only processor time counts, not the number of wake-ups: the timers of many runtimes wake a process that does almost nothing. A start can
go on in the background, with compilers and caches, so one calm window is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.workbench.processor import processor_seconds
from mock_servers.script import Rule, Script, crash

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: seconds of one window, the windows, and the most processor time of a calm one in seconds
_WINDOW, _WINDOWS = 2.0, 4
_MOST = 0.03 * _WINDOW


@check("OPS-060", timeout=40, slow=True)
async def an_idle_proxy_hardly_uses_the_processor(workbench: Workbench) -> None:
    idle = [workbench.stdio(f"idle{number}") for number in range(5)]
    down = workbench.stdio("down", Script(on=[Rule("initialize", [crash()])]))
    async with workbench.proxy(*idle, down) as proxy:
        await proxy.handshake()
        for upstream in idle:
            await proxy.ready(upstream)
        used: list[float] = []
        while len(used) < _WINDOWS and not any(seconds <= _MOST for seconds in used):
            servers = {pid for upstream in (*idle, down) for pid in upstream.pids}
            before = processor_seconds(proxy, servers)
            await anyio.sleep(_WINDOW)
            servers |= {pid for upstream in (*idle, down) for pid in upstream.pids}
            used.append(round(processor_seconds(proxy, servers) - before, 3))
        workbench.expect(
            min(used) <= _MOST,
            f"at most {_MOST:g} s of processor time in one of the windows of {_WINDOW:g} s",
            used,
        )
        answer = await proxy.call("idle0", "echo")
        workbench.expect(not answer.is_error, "a call works afterwards", answer.raw)
