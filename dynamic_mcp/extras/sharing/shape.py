"""The shape of the report of a serving process. A process of another version, or another program at its socket, may send something else."""

from __future__ import annotations

from typing import TypedDict


class ClientReport(TypedDict):
    """One client. ``origin`` says where it comes from, ``reads`` whether it takes its answers."""

    number: int
    name: str
    version: str
    origin: str
    since: float
    calls: int
    in_flight: int
    reads: bool


class GroupReport(TypedDict):
    """One group of one set of servers. ``client`` is the client that alone uses it; None for a shared one."""

    name: str
    client: int | None
    clients: int
    connected: bool
    since: float | None
    pid: int | None
    memory: int | None
    requests: int


class Report(TypedDict):
    """One serving process. Times are in seconds of the epoch, memory is in bytes; None where the system does not tell."""

    pid: int
    version: str
    config: str
    since: float
    memory: int | None
    clients: list[ClientReport]
    groups: list[GroupReport]
