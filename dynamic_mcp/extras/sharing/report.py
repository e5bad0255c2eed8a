"""What a serving process tells about itself: its clients, its groups, and the memory of both (``shape``).

Nothing comes from the configuration except the path of the file and the names of the servers.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from dynamic_mcp import __version__
from dynamic_mcp.extras.sharing.shape import ClientReport, GroupReport, Report
from dynamic_mcp.frontend.clients import Client, Clients
from dynamic_mcp.frontend.pool import Pool

_BEGAN = time.time()


class _Info(msgspec.Struct):
    name: str = ""
    version: str = ""


def report(path: Path, clients: Clients) -> Report:
    """The report, which can be JSON."""
    memory = _memory_by_group()
    groups: list[GroupReport] = []
    for pool in clients.pools.values():
        groups += _groups(pool, None, len(pool.members), memory)
    for client in clients.open_clients.values():
        if client.own is not None:
            groups += _groups(client.own, client.number, 1, memory)
    return {
        "pid": os.getpid(),
        "version": __version__,
        "config": str(path),
        "since": _BEGAN,
        "memory": _own_memory(),
        "clients": [_client(client) for client in clients.open_clients.values()],
        "groups": groups,
    }


def _client(client: Client) -> ClientReport:
    try:
        info = msgspec.json.decode(client.session.client_info or b"{}", type=_Info)
    except msgspec.DecodeError:
        info = _Info()
    return {
        "number": client.number,
        "name": info.name,
        "version": info.version,
        "origin": client.origin,
        "since": client.began,
        "calls": client.relay.calls_made,
        "in_flight": client.relay.in_flight,
        "reads": not client.session.is_stalled,
    }


def _groups(
    pool: Pool, owner: int | None, clients: int, memory: Mapping[int, int] | None
) -> Iterator[GroupReport]:
    for group in pool.groups.values():
        process = getattr(group.upstream, "process_group", None)
        yield {
            "name": group.name,
            "client": owner,
            "clients": clients,
            "connected": group.upstream is not None,
            "since": pool.since.get(group) if group.upstream is not None else None,
            "pid": process,
            "memory": None if memory is None or process is None else memory.get(process),
            "requests": group.in_flight.total,
        }


def _own_memory() -> int | None:
    try:
        return _resident(Path("/proc/self/statm").read_text())
    except (OSError, ValueError):
        return None


def _memory_by_group() -> dict[int, int] | None:
    """The resident memory of each process group; None where the system does not show it."""
    if sys.platform != "linux":
        return None
    found: Counter[int] = Counter()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name of the program, in brackets, may contain anything.
            group = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[2])
            found[group] += _resident((folder / "statm").read_text())
        except (OSError, ValueError, IndexError):
            continue
    return dict(found)


def _resident(statm: str) -> int:
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")
