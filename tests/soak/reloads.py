"""A storm of saves: fifty that add, remove and change servers, or are not valid, while calls go on to a server that none of them concerns.

How long they take, and how soon a new server can be used, is measured by `python -m conformance bench reload`. Saves are in place, which
every proxy that follows its file notices.
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
#: Seconds between two saves.
PACE = 0.4
#: Seconds after which a call is lost.
PATIENCE = 20.0
INVALID = ("{bad", "", '{"mcpServers": {"a": {}}}')


@dataclass
class Report:
    """What became of the calls."""

    calls: int = 0
    lost: list[str] = field(default_factory=list)
    #: seconds of the longest call
    longest: float = 0.0


async def storm(bench: Workbench, report: Report, seed: int, reloads: int = RELOADS) -> None:
    """Save again and again while calls go to a server that stays as it is."""
    chance = random.Random(seed)
    steady = bench.stdio("steady")
    others = [bench.stdio(f"other{number}", Script(startup=[sleep(number / 20)])) for number in range(4)]
    config = bench.config(steady)
    async with bench.serving(steady, config=config) as proxy, anyio.create_task_group() as calling:
        for _ in range(CALLERS):
            calling.start_soon(_call_on, proxy, report)
        for _ in range(reloads):
            if chance.random() < 0.2:
                bench.config_text(chance.choice(INVALID), folder=config.parent, name=config.name)
            else:
                chosen = [
                    one.variant(env={"N": chance.choice("12")}) for one in others if chance.random() < 0.6
                ]
                bench.save(config, steady, *chosen)
            await anyio.sleep(PACE)
        calling.cancel_scope.cancel()
    if len(steady.starts) > 1:
        report.lost.append(f"the steady server was started {len(steady.starts)} times")


async def _call_on(proxy: Proxy, report: Report) -> None:
    while True:
        began = time.monotonic()
        answer = await proxy.call("steady", "add", {"a": 1, "b": 2}, within=PATIENCE)
        report.longest = max(report.longest, time.monotonic() - began)
        report.calls += 1
        if answer.is_error:
            report.lost.append(answer.raw)
        await anyio.sleep(0.005)
