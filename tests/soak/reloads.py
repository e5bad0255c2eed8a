"""Fifty saves of the configuration while clients call an unchanged server. A save adds, removes or changes other servers, or is invalid.

`python -m conformance bench reload` measures the duration of a reload, and the time until a new server works. The saves are in place,
which every proxy that watches its file notices.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import anyio

from conformance.workbench.proxy import Proxy
from conformance.workbench.workbench import Workbench
from mock_servers.script import Script, sleep

RELOADS = 50
CALLERS = 4
#: seconds between two saves
SAVE_INTERVAL = 0.4
#: seconds after which a call counts as lost
CALL_TIMEOUT = 20.0
INVALID = ("{bad", "", '{"mcpServers": {"a": {}}}')


@dataclass
class ReloadReport:
    """The results of the calls."""

    calls: int = 0
    lost: list[str] = field(default_factory=list)
    #: the duration of the longest call in seconds
    longest: float = 0.0


async def reload_repeatedly(
    workbench: Workbench, report: ReloadReport, seed: int, reloads: int = RELOADS
) -> None:
    """Save the configuration repeatedly while clients call a server that no save changes."""
    chance = random.Random(seed)
    steady = workbench.stdio("steady")
    others = [workbench.stdio(f"other{number}", Script(startup=[sleep(number / 20)])) for number in range(4)]
    config = workbench.config(steady)
    async with workbench.serving(steady, config=config) as proxy, anyio.create_task_group() as callers:
        for _ in range(CALLERS):
            callers.start_soon(_call_repeatedly, proxy, report)
        for _ in range(reloads):
            if chance.random() < 0.2:
                workbench.config_text(chance.choice(INVALID), folder=config.parent, name=config.name)
            else:
                chosen = [
                    one.variant(env={"N": chance.choice("12")}) for one in others if chance.random() < 0.6
                ]
                workbench.save(config, steady, *chosen)
            await anyio.sleep(SAVE_INTERVAL)
        callers.cancel_scope.cancel()
    if len(steady.starts) > 1:
        report.lost.append(f"the steady server was started {len(steady.starts)} times")


async def _call_repeatedly(proxy: Proxy, report: ReloadReport) -> None:
    while True:
        began = time.monotonic()
        answer = await proxy.call("steady", "add", {"a": 1, "b": 2}, within=CALL_TIMEOUT)
        report.longest = max(report.longest, time.monotonic() - began)
        report.calls += 1
        if answer.is_error:
            report.lost.append(answer.raw)
        await anyio.sleep(0.005)
