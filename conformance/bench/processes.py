"""Memory and processor time of a proxy and all its processes, without the upstreams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from conformance.bench import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.bench.client import LineClient


def _processes(client: LineClient) -> Iterator[psutil.Process]:
    root = psutil.Process(client.pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            if not servers.is_upstream(process.cmdline()):
                yield process
        except psutil.NoSuchProcess:
            continue


def resident(client: LineClient) -> float:
    """Bytes of resident memory."""
    return float(sum(process.memory_info().rss for process in _processes(client)))


def processor_time(client: LineClient) -> float:
    """Processor seconds until now: Linux counts nanoseconds for each thread, other systems count ticks of ten milliseconds."""
    total = 0.0
    for process in _processes(client):
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
        if threads:
            total += sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
        else:
            times = process.cpu_times()
            total += times.user + times.system
    return total
