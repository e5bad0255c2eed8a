"""Workloads of calls to one group; every one of them can also go the direct line."""

from __future__ import annotations

import statistics
from contextlib import nullcontext
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.client import LineClient, echoes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conformance.bench.client import Caller
    from conformance.bench.servers import Entry
    from conformance.bench.targets import Target

    Measure = Callable[[Target, Path], Mapping[str, float]]
    Upstream = Callable[[], AbstractContextManager[Entry]]

from contextlib import contextmanager

GROUP = "g"
AT_ONCE = 64
SLEEP = 0.02


def STDIO() -> AbstractContextManager[Entry]:
    """A child process."""
    return nullcontext(servers.stdio())


HTTP = servers.http


@contextmanager
def _open(target: Target, folder: Path, upstream: Upstream) -> Iterator[Caller]:
    with upstream() as entry, target.open(folder, {GROUP: entry}) as caller:
        if isinstance(caller, LineClient):
            caller.until_usable([GROUP])
        yield caller


def sequential(upstream: Upstream, count: int, name: str) -> Measure:
    """One echo call after the other: seconds, median and 99th percentile."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, upstream) as caller:
            echoes(caller, GROUP, count // 10)
            seconds = echoes(caller, GROUP, count)
        return {f"{name}-p50": statistics.median(seconds), f"{name}-p99": percentile_99(seconds)}

    return measure


def in_flight(upstream: Upstream, times: int, name: str) -> Measure:
    """Bursts of echo calls: calls a second."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, upstream) as caller:
            echoes(caller, GROUP, 2, AT_ONCE)  # connections and caches are warm
            return {name: times * AT_ONCE / sum(echoes(caller, GROUP, times, AT_ONCE))}

    return measure


def sleeping(target: Target, folder: Path) -> dict[str, float]:
    """Calls at once of a tool that waits: seconds until the last answer."""
    with _open(target, folder, STDIO) as caller:
        return {"sleeping": caller.burst(GROUP, "sleep", {"seconds": SLEEP}, AT_ONCE)}


def results(size: int, times: int, name: str) -> Measure:
    """Large results, one after the other: bytes a second."""

    def measure(target: Target, folder: Path) -> dict[str, float]:
        with _open(target, folder, STDIO) as caller:
            caller.burst(GROUP, "blob", {"bytes": size}, 1)
            seconds = sum(caller.burst(GROUP, "blob", {"bytes": size}, 1) for _ in range(times))
        return {name: size * times / seconds}

    return measure


def percentile_99(values: list[float]) -> float:
    """The 99th percentile; of a single value, that value."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]
