"""The table of workloads: each measures one or several figures of one target in one round.

The goals are ratios to dmcp 1.5.0, except for figures whose goal is for the proxy itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.bench import calls, groups, reloads, servers, starts
from conformance.bench.figures import Figure
from conformance.bench.targets import DirectTarget, ProxyTarget, RelayTarget, Target


@dataclass(frozen=True)
class BenchWorkload:
    """One way to keep a proxy busy."""

    name: str
    section: str
    figures: tuple[Figure, ...]
    #: measures a target in an empty folder of its own; returns the figures by name
    measure: Callable[[Target, Path], Mapping[str, float]]
    #: further targets, which show how fast the work can be at all
    limits: tuple[Target, ...] = ()


def _of_proxies(
    measure: Callable[[ProxyTarget, Path], Mapping[str, float]],
) -> Callable[[Target, Path], Mapping[str, float]]:
    def checked(target: Target, folder: Path) -> Mapping[str, float]:
        assert isinstance(target, ProxyTarget)
        return measure(target, folder)

    return checked


_OF_CHILDREN = (DirectTarget(), RelayTarget())
_OF_SERVERS = (DirectTarget(),)

#: processor time hardly depends on other work of the machine, but processes that share a core slow each other down
_MARGIN = 2.5

START, CALLS, RESULTS, HTTP, OTHERS, MEMORY, RELOAD = (
    "start",
    "calls to child processes",
    "large results",
    "calls over HTTP",
    "one upstream beside others",
    "memory and idle time",
    "reload under load",
)

WORKLOADS = (
    BenchWorkload(
        "start",
        START,
        (
            Figure("initialize", "spawn to the answer to `initialize`", goal=20),
            Figure("listed", "spawn to a tool list that names the group", goal=1.3),
            Figure("start-cpu", "processor time from the spawn to the first answered call", margin=_MARGIN),
        ),
        _of_proxies(starts.one_upstream),
    ),
    BenchWorkload(
        "start-5-slow",
        START,
        (
            Figure("listed-slow", "the same with 5 upstreams that take 300 ms each to start", goal=0.02),
            Figure("first-call", "spawn to the first answered call with these 5", goal=0.30),
        ),
        _of_proxies(starts.five_slow_upstreams),
    ),
    BenchWorkload(
        "many-starts",
        START,
        (
            Figure(
                "many-starts",
                "3 sessions with 35 upstreams each, which need 100 ms of a processor to start. Until all are usable, "
                "as a multiple of the time without a proxy",
                goal=1.3,
                own=True,
            ),
        ),
        _of_proxies(starts.many_upstreams),
    ),
    BenchWorkload(
        "stdio-sequential",
        CALLS,
        (
            Figure("stdio-p50", "one call after the other, median", goal=1.0),
            Figure("stdio-p99", "the same, 99th percentile"),
            Figure("stdio-cpu", "the same, processor time of the proxy", margin=_MARGIN),
        ),
        calls.sequential(servers.child, 400, "stdio"),
        limits=_OF_CHILDREN,
    ),
    BenchWorkload(
        "stdio-64",
        CALLS,
        (
            Figure("stdio-64", "64 calls in flight, calls a second", larger_is_better=True, goal=6),
            Figure("stdio-64-cpu", "processor time of the proxy for each of them", margin=_MARGIN),
        ),
        calls.in_flight(servers.child, 30, "stdio-64"),
        limits=_OF_CHILDREN,
    ),
    BenchWorkload(
        "sleeping",
        CALLS,
        (Figure("sleeping", "64 calls at once of a tool that takes 20 ms", goal=0.018, margin=10),),
        calls.sleeping,
        limits=_OF_CHILDREN,
    ),
    *(
        BenchWorkload(
            f"result-{name}",
            RESULTS,
            (
                Figure(
                    f"result-{name}", f"results of {words}, bytes a second", larger_is_better=True, goal=goal
                ),
            ),
            calls.results(size, times, f"result-{name}"),
            limits=_OF_CHILDREN,
        )
        for name, words, size, times, goal in (
            ("64k", "64 KB", 1 << 16, 200, 1.3),
            ("1m", "1 MB", 1 << 20, 20, 1.1),
            ("16m", "16 MB", 16 << 20, 3, 1.2),
        )
    ),
    BenchWorkload(
        "http-sequential",
        HTTP,
        (
            Figure("http-p50", "one call after the other, median", goal=1.15),
            Figure("http-p99", "the same, 99th percentile"),
            Figure("http-cpu", "the same, processor time of the proxy"),
        ),
        calls.sequential(servers.http, 300, "http"),
        limits=_OF_SERVERS,
    ),
    BenchWorkload(
        "http-64",
        HTTP,
        (
            Figure("http-64", "64 calls in flight, calls a second", larger_is_better=True, goal=1.5),
            Figure("http-64-cpu", "processor time of the proxy for each of them", margin=_MARGIN),
        ),
        calls.in_flight(servers.http, 15, "http-64"),
        limits=_OF_SERVERS,
    ),
    BenchWorkload(
        "isolation",
        OTHERS,
        (
            Figure(
                "isolation",
                "99th percentile of calls while another upstream takes 2 s for one",
                goal=0.001,
            ),
        ),
        _of_proxies(groups.isolation),
    ),
    BenchWorkload(
        "flooded",
        OTHERS,
        (
            Figure(
                "flooded",
                "99th percentile of calls beside an upstream that floods, the worst of three",
                goal=0.05,
                own=True,
            ),
            Figure("flooded-ratio", "the same as a multiple of that without the flood", own=True),
        ),
        _of_proxies(groups.flooded),
    ),
    BenchWorkload(
        "hanging",
        OTHERS,
        (Figure("hanging", "20 upstreams of which one hangs: until the others answer", goal=0.07),),
        _of_proxies(groups.hanging),
    ),
    BenchWorkload(
        "growth",
        MEMORY,
        (
            Figure("memory-1", "resident memory with 1 upstream", goal=3.3),
            Figure("memory-20", "resident memory with 20 upstreams", goal=3.3),
            Figure("memory-100", "resident memory with 100 upstreams"),
            Figure("memory-group", "resident memory for each further group, KB", goal=60, own=True),
            Figure(
                "calls-10",
                "calls a second with 10 groups, as a share of those with 1",
                larger_is_better=True,
                goal=0.9,
                own=True,
            ),
            Figure("calls-100", "the same with 100 groups", larger_is_better=True, goal=0.9, own=True),
        ),
        _of_proxies(groups.growth),
    ),
    BenchWorkload(
        "idle",
        MEMORY,
        (Figure("idle", "processor time while nothing happens, with 5 upstreams"),),
        _of_proxies(groups.idle),
    ),
    BenchWorkload(
        "reload",
        RELOAD,
        (
            Figure(
                "reload-usable", "save to the first answer of a new upstream that takes 300 ms", goal=0.35
            ),
            Figure("reload-stall", "longest call to another upstream during 25 reloads", goal=0.1),
            Figure("reload-failed", "failed calls to it", goal=0, own=True),
        ),
        _of_proxies(reloads.measure),
    ),
)
