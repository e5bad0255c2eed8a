"""The workload of reloads: saves the configuration again and again during calls.

The saves are in place, which every proxy that watches its file notices. Their moments are random, so that they do not coincide with the
intervals of a proxy.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING

from conformance.bench import servers
from conformance.bench.targets import write_config

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.bench.client import LineClient
    from conformance.bench.targets import ProxyTarget

START = 0.3
ADDED = 3
RELOADS = 25
#: seconds between two saves of a storm, and between an answer and the next call
PACE = 0.25
PAUSE = 0.005


def measure(target: ProxyTarget, folder: Path) -> dict[str, float]:
    """Add servers one after the other; then change other servers many times during calls to one server."""
    old = {f"old{number}": servers.stdio(START) for number in range(3)}
    with target.open(folder, old) as client:
        client.until_usable(list(old))
        usable = [_add(client, folder, old, f"new{number}") for number in range(ADDED)]
    steady = {"steady": servers.stdio()}
    with target.open(folder, steady) as client:
        client.until_usable(["steady"])
        longest, failed = _storm(client, folder, steady)
    return {
        "reload-usable": statistics.median(usable),
        "reload-stall": longest,
        "reload-failed": float(failed),
    }


def _add(client: LineClient, folder: Path, entries: dict[str, servers.Entry], name: str) -> float:
    """Save the configuration with one more server; returns the seconds until that server answers."""
    time.sleep(random.uniform(0.5, 0.7))
    entries[name] = servers.stdio(START)
    began = time.monotonic()
    write_config(folder, entries)
    client.until_usable([name])
    return time.monotonic() - began


def _storm(client: LineClient, folder: Path, steady: dict[str, servers.Entry]) -> tuple[float, int]:
    """The longest call in seconds, and the number of failed calls."""
    longest, failed = 0.0, 0
    for _ in range(RELOADS):
        # Another start time is another command line, so the proxy sees a changed server.
        others = {f"g{n}": servers.stdio(random.choice((0, 0.05))) for n in range(4) if random.random() < 0.6}
        write_config(folder, steady | others)
        until = time.monotonic() + PACE
        while time.monotonic() < until:
            began = time.monotonic()
            failed += not client.echo_works("steady")
            longest = max(longest, time.monotonic() - began)
            time.sleep(PAUSE)
    return longest, failed
