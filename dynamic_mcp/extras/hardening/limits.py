"""Resource limits of the operating system (setrlimit) for a child and for each process that it starts.

The child sets them on itself between fork and exec, so its program never runs without them. Only a program of root can raise them. If a
limit cannot be set, the start fails. The system defines the meaning of a limit. That on processes counts all processes of the user, on
Linux also threads, and does not apply to root.

Memory is RLIMIT_DATA on Linux, which counts writable memory, and RLIMIT_AS elsewhere, which also counts reserved addresses. Node 20
works with 512 MiB of the former, but cannot make one HTTP request with 4 GiB of the latter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dynamic_mcp.config import size
from dynamic_mcp.config.model import ResourceLimits
from dynamic_mcp.errors import UpstreamFailed

if sys.platform != "win32":
    import resource

    # Memory comes last, because with a low limit the other calls could fail.
    _NUMBERS = {
        "cpu_time": resource.RLIMIT_CPU,
        "open_files": resource.RLIMIT_NOFILE,
        "processes": resource.RLIMIT_NPROC,
        "memory": resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS,
    }

#: Seconds from SIGXCPU, which shows the reason, to SIGKILL, which no process can ignore.
_CPU_GRACE = 1


def setter(limits: ResourceLimits) -> Callable[[], None] | None:
    """A function that sets these limits on the process that calls it; None without limits. Raises UpstreamFailed."""
    if limits == ResourceLimits():
        return None
    if sys.platform == "win32":
        raise UpstreamFailed("its security.limits are not possible: this system has no setrlimit")
    settings = []
    for name, number in _NUMBERS.items():
        value: int | None = getattr(limits, name)
        if value is None:
            continue
        maximum = resource.getrlimit(number)[1]
        if maximum != resource.RLIM_INFINITY and value > maximum:
            raise UpstreamFailed(
                f"its security.limits.{name} is {_format(name, value)}, and the proxy itself has no more than {_format(name, maximum)}"
            )
        ceiling = value + _CPU_GRACE if number == resource.RLIMIT_CPU else value
        settings.append(
            (number, (value, ceiling if maximum == resource.RLIM_INFINITY else min(ceiling, maximum)))
        )

    def set_all() -> None:
        for number, pair in settings:
            resource.setrlimit(number, pair)

    return set_all


def explained(status: str, limits: ResourceLimits) -> str:
    """``Child.status`` with the limits that may be the reason."""
    if limits == ResourceLimits() or status == "exit code 0":
        return status
    if status == "killed by SIGXCPU" and limits.cpu_time is not None:
        return f"{status} at its limit: cpu_time {_format('cpu_time', limits.cpu_time)}"
    found = ((name, getattr(limits, name)) for name in ResourceLimits.__struct_fields__)
    limits_text = ", ".join(f"{name} {_format(name, value)}" for name, value in found if value is not None)
    return f"{status}; it may have met a limit: {limits_text}"


def _format(name: str, value: int) -> str:
    """The value of a limit in the syntax of the configuration."""
    if name == "memory":
        return size.text(value)
    return f"{value} s" if name == "cpu_time" else str(value)
