"""The memory of the implementation, from /proc/PID/status; where there is no /proc, no check judges it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
NOT_JUDGED = "there is no /proc, so the check does not judge the memory"


def memory_of(proxy: Proxy, size: str = "VmHWM") -> int | None:
    """A size of the proxy's memory in bytes, by its name there: by default the peak so far. None without /proc."""
    status = Path(f"/proc/{proxy.pid}/status")
    if not status.is_file():
        return None
    return int(status.read_text().partition(f"{size}:")[2].split()[0]) * 1024


@contextmanager
def bounded_growth(workbench: Workbench, proxy: Proxy, most: int) -> Iterator[None]:
    """Expect that the peak of the memory grows by at most `most` bytes during the block."""
    before = memory_of(proxy)
    yield
    after = memory_of(proxy)
    if before is None or after is None:
        workbench.note(NOT_JUDGED)
    else:
        grown = f"{(after - before) / MIB:.1f} MiB"
        workbench.expect(after - before <= most, f"at most {most // MIB} MiB more memory", grown)
