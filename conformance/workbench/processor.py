"""The processor time of the implementation and its helpers, without the upstreams."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection

    from conformance.workbench.proxy import Proxy


def processor_seconds(proxy: Proxy, without: Collection[int]) -> float:
    """The seconds that the living processes of the proxy have used so far, except those with the pids in `without`."""
    total = 0.0
    for process in proxy.processes.alive():
        if process.pid not in without:
            # A process can end at any moment.
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(process.pid).cpu_times()
                total += times.user + times.system
    return total
