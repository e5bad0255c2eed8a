"""Workloads with several groups: the effect of one on the others, and the cost of each."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.calls import AT_ONCE, percentile_99
from conformance.bench.client import echoes
from conformance.bench.processes import processor_time, resident
from conformance.bench.upstreams import NEVER

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.bench.client import LineClient
    from conformance.bench.targets import ProxyTarget

LONG = 2.0
UPSTREAMS = 20
#: hostile upstreams, the seconds of calls beside each, and the calls without it
FLOODS = ("prints-digits", "asks-often-without-reading", "logs-all-the-time")
FLOODED = 2.0
_QUIET = 400
#: seconds without any work before the measurement of idle time, and during it
_SETTLE, _IDLE = 4.0, 3.0
#: numbers of groups, and bursts of calls for each number
_SIZES = (1, 10, UPSTREAMS, 100)
_BURSTS = 20


def isolation(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Calls to one group during a long call to another: their 99th percentile."""
    with target.open(folder, {"fast": servers.stdio(), "slow": servers.stdio()}) as client:
        client.until_usable(["fast", "slow"])
        echoes(client, "fast", 50)
        client.send("slow", "sleep", {"seconds": LONG})
        seconds = []
        waiting = True
        while waiting:
            begin = time.perf_counter()
            client.send("fast", "echo", {"text": "hello"})
            while b"hello" not in client.read(1)[0]:
                waiting = False
            seconds.append(time.perf_counter() - begin)
        return {"isolation": percentile_99(seconds)}


def flooded(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Calls to one group beside each hostile upstream: the worst 99th percentile, also as a multiple of that without it."""
    worst, ratio = 0.0, 0.0
    for name in FLOODS:
        own = folder / name
        own.mkdir()
        with target.open(own, {"fast": servers.stdio(), "hostile": servers.hostile(name)}) as client:
            client.until_usable(["fast", "hostile"])
            echoes(client, "fast", 50)
            quiet = percentile_99(echoes(client, "fast", _QUIET))
            client.send("hostile", "attack", {})
            seconds, end = [], time.perf_counter() + FLOODED
            while time.perf_counter() < end:
                begin = time.perf_counter()
                client.send("fast", "echo", {"text": "hello"})
                while b"hello" not in client.read(1)[0]:
                    pass  # the answer of the hostile upstream
                seconds.append(time.perf_counter() - begin)
        beside = percentile_99(seconds)
        worst, ratio = max(worst, beside), max(ratio, beside / quiet)
    return {"flooded": worst, "flooded-ratio": ratio}


def hanging(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """One of many upstreams never answers: seconds from the spawn until each of the others has answered a call."""
    entries = {f"g{number}": servers.stdio(0 if number else NEVER) for number in range(UPSTREAMS)}
    with target.open(folder, entries) as client:
        client.until_usable([name for name in entries if name != "g0"])
        return {"hanging": client.age()}


def growth(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """The same calls to one group beside few and many other groups, in turn, and the memory of each group."""
    clients: dict[int, LineClient] = {}
    seconds: dict[int, list[float]] = {}
    with ExitStack() as running:
        for count in _SIZES:
            own = folder / str(count)
            own.mkdir()
            names = [f"g{number}" for number in range(count)]
            client = target.open(own, {name: servers.stdio() for name in names})
            clients[count] = running.enter_context(client)
            client.until_usable(names)
        memory = {count: resident(client) for count, client in clients.items()}
        for _ in range(_BURSTS):
            for count, client in clients.items():
                seconds.setdefault(count, []).extend(echoes(client, "g0", 1, AT_ONCE))
    speed = {count: 1 / statistics.median(taken) for count, taken in seconds.items()}
    return {
        **{f"memory-{count}": memory[count] for count in (1, UPSTREAMS, 100)},
        "memory-group": (memory[100] - memory[1]) / 99 / 1000,
        **{f"calls-{count}": speed[count] / speed[1] for count in (10, 100)},
    }


def idle(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Processor seconds for each second without any work."""
    names = [f"g{number}" for number in range(5)]
    with target.open(folder, {name: servers.stdio() for name in names}) as client:
        client.until_usable(names)
        time.sleep(_SETTLE)
        before, began = processor_time(client), time.monotonic()
        time.sleep(_IDLE)
        return {"idle": (processor_time(client) - before) / (time.monotonic() - began)}
