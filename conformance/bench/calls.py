"""Workloads of calls to one group; each of them also works without a proxy."""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.client import LineClient, echoes
from conformance.bench.processes import processor_time
from conformance.bench.targets import ProxyTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conformance.bench.client import Caller
    from conformance.bench.servers import Entry
    from conformance.bench.targets import Target

    Measure = Callable[[Target, Path], Mapping[str, float]]
    Upstream = Callable[[], AbstractContextManager[Entry]]

GROUP = "g"
AT_ONCE = 64
SLEEP = 0.02


@contextmanager
def _open(target: Target, folder: Path, upstream: Upstream) -> Iterator[Caller]:
    with upstream() as entry, target.open(folder, {GROUP: entry}) as caller:
        if isinstance(caller, LineClient):
            caller.until_usable([GROUP])
        yield caller


def sequential(upstream: Upstream, count: int, name: str) -> Measure:
    """One echo call after the other: median and 99th percentile in seconds, and processor seconds of the proxy."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, upstream) as caller:
            seconds, used = _timed(target, caller, count, 1)
        figures = {f"{name}-p50": statistics.median(seconds), f"{name}-p99": percentile_99(seconds)}
        return {**figures, f"{name}-cpu": used / count}

    return measure


def in_flight(upstream: Upstream, times: int, name: str) -> Measure:
    """Bursts of echo calls: calls per second, and processor seconds of the proxy for each call."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, upstream) as caller:
            seconds, used = _timed(target, caller, times, AT_ONCE)
        return {name: times * AT_ONCE / sum(seconds), f"{name}-cpu": used / (times * AT_ONCE)}

    return measure


def _timed(target: Target, caller: Caller, times: int, at_once: int) -> tuple[list[float], float]:
    """The seconds of each burst, and the processor seconds of the proxy for all of them; 0 without a proxy."""
    proxy = caller if isinstance(target, ProxyTarget) and isinstance(caller, LineClient) else None
    echoes(caller, GROUP, times // 10 + 2, at_once)  # warms up connections and caches
    before = processor_time(proxy) if proxy else 0.0
    seconds = echoes(caller, GROUP, times, at_once)
    return seconds, processor_time(proxy) - before if proxy else 0.0


def sleeping(target: Target, folder: Path) -> dict[str, float]:
    """Simultaneous calls of a tool that waits: seconds until the last answer."""
    with _open(target, folder, servers.child) as caller:
        return {"sleeping": caller.burst(GROUP, "sleep", {"seconds": SLEEP}, AT_ONCE)}


def results(size: int, times: int, name: str) -> Measure:
    """Large results, one after the other: bytes per second."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, servers.child) as caller:
            caller.burst(GROUP, "blob", {"bytes": size}, 1)
            seconds = sum(caller.burst(GROUP, "blob", {"bytes": size}, 1) for _ in range(times))
        return {name: size * times / seconds}

    return measure


def percentile_99(values: list[float]) -> float:
    """The 99th percentile; of a single value, that value."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]
