"""Measures a healthy group beside a hostile server: how long its calls take, and how much memory the attack costs the proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mock_servers.hostile import HostileServer
from mock_servers.running import http_mock, oauth_mock
from mock_servers.script import Script
from tests.wire import Wire

MIB = 1 << 20
#: the address space of the proxy; an attack on its memory fails here and not on the machine
ADDRESS_SPACE = 4 << 30
#: seconds between two calls of the healthy group
PACE = 0.02
#: seconds until the answer to a call, after which the healthy group counts as stopped
ANSWERED_WITHIN = 20.0


@dataclass(frozen=True)
class Latencies:
    """The durations of calls in seconds, in ascending order."""

    ordered: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """The duration that this share of the calls does not exceed."""
        return self.ordered[min(len(self.ordered) - 1, int(share * len(self.ordered)))]

    def __str__(self) -> str:
        return f"p50 {self.quantile(0.5) * 1000:.1f} ms, p99 {self.quantile(0.99) * 1000:.1f} ms"


@dataclass(frozen=True)
class Effect:
    """What a hostile server does to a healthy group and to the proxy."""

    quiet: Latencies
    beside: Latencies
    #: bytes that the peak of the proxy's memory lies above its quiet state
    growth: int

    def __str__(self) -> str:
        return f"quiet {self.quiet}; beside {self.beside}; memory +{self.growth / MIB:.0f} MiB"


def measure(folder: Path, server: HostileServer, seconds: float) -> Effect:
    """Call a healthy group for some seconds without the attack, and then beside it."""
    with _wire(folder, server) as wire:
        client = _Client(wire)
        client.calls(0)  # the servers start with the first call
        quiet = client.calls(seconds / 4)
        before = wire.memory()
        if server.begins_by_call:
            client.begin_attack()
        beside = client.calls(seconds)
        growth = wire.memory("VmHWM") - before
        assert wire.process.poll() is None
        return Effect(quiet, beside, growth)


@contextmanager
def _wire(folder: Path, server: HostileServer) -> Iterator[Wire]:
    """The proxy in front of the hostile server and a healthy one."""
    script = server.script()
    options: dict[str, Any] = {"address_space": ADDRESS_SPACE, "timeout": "5s"}
    if server.transport == "stdio":
        with Wire(folder, healthy=Script(), hostile=script, **options) as wire:
            yield wire
        return
    own = folder / "hostile"
    own.mkdir()
    mock: Any = (
        oauth_mock(own, script.oauth, script)
        if server.transport == "oauth"
        else http_mock(own, script, kind=server.transport)
    )
    with mock as running, Wire(folder, healthy=Script(), remotes={"hostile": running.url}, **options) as wire:
        yield wire


class _Client:
    """Calls the healthy group, one call after the other."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._last_id = 0

    def begin_attack(self) -> None:
        """Call the tool that begins the attack, without waiting for its answer."""
        self._last_id += 1
        self._wire.send_call(self._last_id, "hostile", tool="attack")

    def calls(self, seconds: float) -> Latencies:
        """Call the healthy group for so long. Each call must get its own answer."""
        end, found = time.monotonic() + seconds, list[float]()
        while not found or time.monotonic() < end:
            found.append(self._call())
            time.sleep(PACE)
        return Latencies(tuple(sorted(found)))

    def _call(self) -> float:
        self._last_id += 1
        id, start = self._last_id, time.monotonic()
        self._wire.send_call(id, "healthy", {"a": id, "b": 1}, tool="add")
        while True:
            left = start + ANSWERED_WITHIN - time.monotonic()
            message = self._wire.receive_if_any(max(0.0, left))
            assert message is not None, f"the healthy group gave no answer within {ANSWERED_WITHIN:g} s"
            if "method" not in message and message.get("id") == id:
                assert message["result"]["content"][0]["text"] == str(id + 1), message
                return time.monotonic() - start
