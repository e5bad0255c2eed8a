"""`python -m conformance.bench.curves`: how the processor time and the memory of the bundled proxy grow with the work.

Each scenario doubles its work three times. The growth is the cost of each unit of the last doubling, as a multiple of that of the first
one. 1 is linear, 4 is quadratic. Other work of the machine can only add to a time, so each point is the least of the rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.curves_chart import svg
from conformance.bench.processes import processor_time, resident
from conformance.bench.targets import ProxyTarget, write_config
from conformance.errors import HarnessError
from conformance.model.sut import make_sut

if TYPE_CHECKING:
    from conformance.bench.client import LineClient

#: bytes of one definition of a large listing
_LARGE = 10_000
_SLEEP = 2.0
#: seconds for one reload
_RELOADED = 10.0


@dataclass(frozen=True)
class Point:
    """The costs of an amount of work."""

    work: int
    #: processor seconds, and bytes of resident memory
    seconds: float
    memory: float


@dataclass(frozen=True)
class GrowthScenario:
    """One kind of work."""

    name: str
    what: str
    #: the largest amount of work
    most: int
    #: measures some amounts of work with a proxy in an empty folder
    measure: Callable[[ProxyTarget, Path, Sequence[int]], list[Point]]

    @property
    def amounts(self) -> list[int]:
        """The amounts of work, each twice the one before."""
        return [self.most >> step for step in (3, 2, 1, 0)]


def _each(
    entries: Callable[[int], Mapping[str, servers.Entry]], work: Callable[[LineClient, int], None]
) -> Callable[[ProxyTarget, Path, Sequence[int]], list[Point]]:
    """A measurement with a proxy of its own for each amount, from its start."""

    def measure(target: ProxyTarget, folder: Path, amounts: Sequence[int]) -> list[Point]:
        points = []
        for amount in amounts:
            own = folder / str(amount)
            own.mkdir()
            with target.open(own, entries(amount)) as client:
                work(client, amount)
                points.append(Point(amount, processor_time(client), resident(client)))
        return points

    return measure


def _use_all(client: LineClient, amount: int) -> None:
    client.until_usable([f"g{number}" for number in range(amount)])


def _list_and_search(client: LineClient, amount: int) -> None:
    client.until_usable(["g"])
    for search in ({}, {"search": f"number {amount // 2}"}):
        answer = client.ask(
            "tools/call", {"name": "get_dynamic_tools", "arguments": {"group": "g", **search}}
        )
        if answer.get("result", {"isError": True}).get("isError"):
            raise HarnessError(f"the tools are not listed: {str(answer)[:200]}")


def _call_at_once(client: LineClient, amount: int) -> None:
    client.until_usable(["g"])
    client.burst("g", "sleep", {"seconds": _SLEEP}, amount)


def _reloads(target: ProxyTarget, folder: Path, amounts: Sequence[int]) -> list[Point]:
    """Save the configuration again and again in front of one proxy, and measure after some numbers of saves."""
    points, steady = [], {"steady": servers.stdio()}
    with target.open(folder, steady) as client:
        client.until_usable(["steady"])
        for number in range(1, amounts[-1] + 1):
            name = f"g{number}"
            write_config(folder, {**steady, name: {**servers.stdio(), "description": f"number {number}"}})
            deadline = time.monotonic() + _RELOADED
            while name not in str(client.ask("tools/list", {})):
                if time.monotonic() > deadline:
                    raise HarnessError(f"reload {number} did not happen within {_RELOADED:g} s")
                time.sleep(0.05)
            if number in amounts:
                points.append(Point(number, processor_time(client), resident(client)))
    return points


SCENARIOS = (
    GrowthScenario(
        "groups",
        "groups until each has answered a call",
        200,
        _each(lambda count: {f"g{number}": servers.stdio() for number in range(count)}, _use_all),
    ),
    GrowthScenario(
        "tools",
        "tools of one group: listed, and searched",
        5000,
        _each(lambda count: {"g": servers.listing(count, 200)}, _list_and_search),
    ),
    GrowthScenario(
        "listing",
        "MB of definitions of one group: listed, and searched",
        20,
        _each(lambda count: {"g": servers.listing(count * 100, _LARGE)}, _list_and_search),
    ),
    GrowthScenario(
        "calls",
        "calls in flight at once, of a tool that takes 2 s",
        10_000,
        _each(lambda count: {"g": servers.stdio()}, _call_at_once),
    ),
    GrowthScenario("reloads", "reloads that replace a server", 1000, _reloads),
)


def growth(values: Sequence[float], works: Sequence[int]) -> float | None:
    """The cost of a unit of the last step, as a multiple of that of the first one. None if the first one has no cost."""
    first = (values[1] - values[0]) / (works[1] - works[0])
    last = (values[-1] - values[-2]) / (works[-1] - works[-2])
    return last / first if first > 0 else None


def table(found: Mapping[str, Sequence[Point]]) -> str:
    """The Markdown table of the curves."""
    lines = [
        "| work | amounts | processor time, s | growth | memory, MB | growth |",
        "| --- | --- | --- | ---: | --- | ---: |",
    ]
    for scenario in SCENARIOS:
        if points := found.get(scenario.name):
            works = [point.work for point in points]
            seconds, memory = [point.seconds for point in points], [point.memory / 1e6 for point in points]
            cells = [
                scenario.what,
                ", ".join(map(str, works)),
                ", ".join(f"{value:.2f}" for value in seconds),
                _shown(growth(seconds, works)),
                ", ".join(f"{value:.0f}" for value in memory),
                _shown(growth(memory, works)),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def measure(scenarios: Sequence[GrowthScenario], rounds: int, scale: float) -> dict[str, list[Point]]:
    """The least costs of each amount over the rounds. `scale` multiplies the amounts."""
    target = ProxyTarget(make_sut(()))
    found: dict[str, list[Point]] = {}
    for _ in range(rounds):
        for scenario in scenarios:
            amounts = [max(step, int(amount * scale)) for step, amount in enumerate(scenario.amounts, 1)]
            with TemporaryDirectory(prefix="bench-") as folder:
                points = scenario.measure(target, Path(folder), amounts)
            best = found.get(scenario.name, points)
            found[scenario.name] = [
                Point(one.work, min(one.seconds, other.seconds), min(one.memory, other.memory))
                for one, other in zip(points, best, strict=True)
            ]
    return found


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m conformance.bench.curves", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"some of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="rounds (default: 1)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="multiply the amounts of work")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture of the curves")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(names):
        parser.error(f"there is no scenario {sorted(unknown)[0]!r}; there are {', '.join(names)}")
    chosen = [one for one in SCENARIOS if not options.scenarios or one.name in options.scenarios]
    found = measure(chosen, options.rounds, options.scale)
    print(table(found))
    if options.svg:
        panels = [(one.what, [(p.work, p.seconds, p.memory) for p in found[one.name]]) for one in chosen]
        options.svg.write_text(svg(panels), encoding="utf-8")


if __name__ == "__main__":
    main()
