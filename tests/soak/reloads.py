"""Fifty saves of the configuration while clients call an unchanged server. A save adds, removes or changes other servers, or is invalid.

`python -m conformance bench reload` measures the duration of a reload, and the time until a new server works. The saves are in place,
which every proxy that watches its file notices.

One of the other servers never finishes its start, so a call that waits for it is lost. Shorter delays are measured in calls to a server
without a proxy that got their answers meanwhile. A busy machine delays those too: once the test itself got no processor for 8 s. It can
also hold up only the proxy or its server once, for all callers. So a single delay tells nothing, and delays at many saves do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import anyio

from conformance.workbench.proxy import Proxy
from conformance.workbench.workbench import Workbench
from mock_servers.script import Script, sleep
from tests.soak.direct import Direct

RELOADS = 50
CALLERS = 4
#: seconds between two saves
SAVE_INTERVAL = 0.4
#: calls without a proxy during one call of the proxy, above which that call is delayed. They are up to 4 on a quiet machine, and 14
#: beside a hundred starts. If each save stops the proxy for half a second, they are 50 to 90.
DELAYED = 40
#: seconds after which a call counts as lost
CALL_TIMEOUT = 20.0
#: seconds that the start of each other server takes
STARTS = (0.0, 0.05, 0.1, 300.0)
#: seconds between two calls of a caller
CALL_INTERVAL = 0.005
ADD = {"a": 1, "b": 2}
INVALID = ("{bad", "", '{"mcpServers": {"a": {}}}')


@dataclass
class ReloadReport:
    """The results of the calls."""

    calls: int = 0
    lost: list[str] = field(default_factory=list)
    #: the calls without a proxy
    direct: int = 0
    #: the calls of the proxy that were delayed, by how many calls without a proxy got their answers meanwhile
    delayed: list[int] = field(default_factory=list)


async def reload_repeatedly(
    workbench: Workbench, report: ReloadReport, seed: int, reloads: int = RELOADS
) -> None:
    """Save the configuration repeatedly while clients call a server that no save changes."""
    chance = random.Random(seed)
    steady = workbench.stdio("steady")
    others = [workbench.stdio(f"other{seconds:g}", Script(startup=[sleep(seconds)])) for seconds in STARTS]
    config = workbench.config(steady)
    async with (
        Direct(workbench.stdio("direct").entry) as direct,
        workbench.serving(steady, config=config) as proxy,
        anyio.create_task_group() as callers,
    ):
        callers.start_soon(_call_directly, direct, report)
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
        before = report.direct
        answer = await proxy.call("steady", "add", ADD, within=CALL_TIMEOUT)
        if (meanwhile := report.direct - before) > DELAYED:
            report.delayed.append(meanwhile)
        report.calls += 1
        if answer.is_error:
            report.lost.append(answer.raw)
        await anyio.sleep(CALL_INTERVAL)


async def _call_directly(server: Direct, report: ReloadReport) -> None:
    while True:
        await server.ask("tools/call", {"name": "add", "arguments": ADD})
        report.direct += 1
        await anyio.sleep(CALL_INTERVAL)
