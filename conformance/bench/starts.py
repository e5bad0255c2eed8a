"""Workloads of the start, in seconds since the spawn of the proxy."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.processes import processor_time
from conformance.bench.targets import DirectTarget
from conformance.bench.upstreams import BUSY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conformance.bench.client import LineClient
    from conformance.bench.targets import ProxyTarget

SLOW_START = 0.3
#: sessions that begin at the same time, the upstreams of each, and the processor time of each start in seconds
SESSIONS, UPSTREAMS, BUSY_START = 3, 35, 0.1


def one_upstream(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """One upstream: the answer to `initialize`, the list of tools, and the processor time until the answer to the first call."""
    with target.open(folder, {"alone": servers.stdio()}) as client:
        client.until_shown(["alone"])
        listed = client.age()
        client.until_usable(["alone"])
        return {"initialize": client.introduced, "listed": listed, "start-cpu": processor_time(client)}


def five_slow_upstreams(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Five slow upstreams: the list of tools, then a call to the first of them."""
    names = [f"slow{number}" for number in range(5)]
    with target.open(folder, {name: servers.stdio(SLOW_START) for name in names}) as client:
        client.until_shown(names)
        listed = client.age()
        # The first in the file, because a proxy that starts its upstreams one by one begins with it.
        client.until_usable(names[:1])
        return {"listed-slow": listed, "first-call": client.age()}


def many_upstreams(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Several sessions with many upstreams whose starts take processor time: the time until all are usable, beside that without a proxy."""
    entries = {f"g{number}": servers.stdio(f"{BUSY}{BUSY_START}") for number in range(UPSTREAMS)}
    return {"many-starts": _with_proxies(target, folder, entries) / _without(folder, entries)}


def _with_proxies(target: ProxyTarget, folder: Path, entries: Mapping[str, servers.Entry]) -> float:
    began = time.perf_counter()
    with ExitStack() as running:
        clients: list[LineClient] = []
        for number in range(SESSIONS):
            own = folder / str(number)
            own.mkdir()
            clients.append(target.open(own, entries))
            # The handshake comes later, so that all sessions begin at the same time.
            running.callback(clients[-1].close)
        for client in clients:
            client.introduce()
        for client in clients:
            client.until_usable(list(entries))
        return time.perf_counter() - began


def _without(folder: Path, entries: Mapping[str, servers.Entry]) -> float:
    began = time.perf_counter()
    with ExitStack() as running:
        clients: list[LineClient] = []
        for entry in list(entries.values()) * SESSIONS:
            clients.append(DirectTarget().child(folder, entry))
            running.callback(clients[-1].close)
        for client in clients:
            client.introduce()
            client.until_usable(["alone"])
        return time.perf_counter() - began
