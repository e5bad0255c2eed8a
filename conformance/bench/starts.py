"""Workloads of the start, in seconds since the spawn of the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.processes import processor_time

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.bench.targets import ProxyTarget

SLOW_START = 0.3


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
