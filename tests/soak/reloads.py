"""How well reloads go unnoticed, for any proxy: ``python -m tests.soak.reloads [-- COMMAND ... {config}]``.

- *usable*: seconds from a save that adds a server to the first right answer of it, where every server needs 300 ms to start;
- *storm*: 50 saves that add, remove and change servers, or are not valid, while calls go on to a server that none of them concerns:
  how many were lost, and the longest that one took.

Saves are in place, which every proxy that follows its file notices.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import dataclass, field

import anyio

from conformance.sut import make_sut
from conformance.workbench import Proxy, Workbench, open_workbench
from mock_servers.script import Script, sleep

START = 0.3
ADDED = 8
RELOADS = 50
CALLERS = 4
#: Seconds between two saves of a storm.
PACE = 0.4
#: Seconds after which a new server is given up and a call is lost.
PATIENCE = 20.0
INVALID = ("{bad", "", '{"mcpServers": {"a": {}}}')


@dataclass
class Report:
    """What was measured, in seconds."""

    usable: list[float] = field(default_factory=list)
    calls: int = 0
    lost: list[str] = field(default_factory=list)
    longest: float = 0.0


async def add_servers(bench: Workbench, report: Report, count: int = ADDED) -> None:
    """Add one server after the other to three that are there."""
    script = Script(startup=[sleep(START)])
    upstreams = [bench.stdio(f"old{number}", script) for number in range(3)]
    config = bench.config(*upstreams)
    async with bench.serving(*upstreams, config=config) as proxy:
        for number in range(count):
            # At no fixed moment of whatever the proxy does at intervals.
            await anyio.sleep(1.0 + random.random() / 5)
            upstreams.append(bench.stdio(f"new{number}", script))
            began = time.monotonic()
            bench.save(config, *upstreams)
            with anyio.fail_after(PATIENCE):
                while (await proxy.call(upstreams[-1].name, "echo", within=PATIENCE)).is_error:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            report.usable.append(time.monotonic() - began)


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
                chosen = [one.but(env={"N": chance.choice("12")}) for one in others if chance.random() < 0.6]
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


async def measure(command: list[str], seed: int) -> Report:
    """Both, one after the other."""
    report = Report()
    async with open_workbench(make_sut(command), "RELOADS", keep=False) as bench:
        await add_servers(bench, report)
        await storm(bench, report, seed)
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how well reloads go unnoticed.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    report = anyio.run(measure, options.command, options.seed)
    median = statistics.median(report.usable)
    lines = [
        f"usable: median {median:.2f} s, at most {max(report.usable):.2f} s",
        f"storm: {report.calls} calls, {len(report.lost)} lost, longest {report.longest * 1000:.0f} ms",
        *report.lost[:3],
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
