"""Limits of the operating system on a child and on everything that it starts, each of these processes for itself (setrlimit).

They are set between fork and exec, by the child on itself, so that no instruction of its program runs without them, and they cannot be
raised again. A limit that cannot be set fails the start; no child runs without a limit that was asked for. What a limit means is the
system's business: the one on processes counts all of the user's, threads too on Linux, and does not bind root.

Memory is RLIMIT_DATA on Linux, which counts what a program may write to, and RLIMIT_AS elsewhere, which also counts what it only
reserves. Node 20 cannot make one HTTP request with 4 GiB of the latter, and works with 512 MiB of the former.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dynamic_mcp.config import size
from dynamic_mcp.config.model import ResourceLimits
from dynamic_mcp.errors import UpstreamFailed

if sys.platform != "win32":
    import resource

    # Memory comes last: with little of it, nothing else may be left to do before exec.
    _NUMBERS = {
        "cpu_time": resource.RLIMIT_CPU,
        "open_files": resource.RLIMIT_NOFILE,
        "processes": resource.RLIMIT_NPROC,
        "memory": resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS,
    }

#: Seconds from SIGXCPU, which tells what happened, to SIGKILL, which cannot be ignored.
_CPU_GRACE = 1


def setter(limits: ResourceLimits) -> Callable[[], None] | None:
    """What sets these limits on the process that calls it; None where there are none. Raises UpstreamFailed."""
    if limits == ResourceLimits():
        return None
    if sys.platform == "win32":
        raise UpstreamFailed("its security.limits cannot be kept: this system has no setrlimit")
    settings = []
    for name, number in _NUMBERS.items():
        value: int | None = getattr(limits, name)
        if value is None:
            continue
        most = resource.getrlimit(number)[1]
        if most != resource.RLIM_INFINITY and value > most:
            raise UpstreamFailed(
                f"its security.limits.{name} is {_told(name, value)}, and the proxy itself has no more than {_told(name, most)}"
            )
        ceiling = value + _CPU_GRACE if number == resource.RLIMIT_CPU else value
        settings.append((number, (value, ceiling if most == resource.RLIM_INFINITY else min(ceiling, most))))

    def set_all() -> None:
        for number, pair in settings:
            resource.setrlimit(number, pair)

    return set_all


def explained(status: str, limits: ResourceLimits) -> str:
    """How a child ended (``Child.status``), with the limits that may be the reason."""
    if limits == ResourceLimits() or status == "exit code 0":
        return status
    if status == "killed by SIGXCPU" and limits.cpu_time is not None:
        return f"{status} at its limit: cpu_time {_told('cpu_time', limits.cpu_time)}"
    found = ((name, getattr(limits, name)) for name in ResourceLimits.__struct_fields__)
    told = ", ".join(f"{name} {_told(name, value)}" for name, value in found if value is not None)
    return f"{status}; it may have met a limit: {told}"


def _told(name: str, value: int) -> str:
    """The value of a limit as it may be written in the configuration."""
    if name == "memory":
        return size.text(value)
    return f"{value} s" if name == "cpu_time" else str(value)
