"""What is measured. Each workload gives one number for one implementation in one round; smaller is better."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.bench.client import BenchClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conformance.sut import Sut

_UPSTREAMS = Path(__file__).with_name("upstreams.py")
_COMMAND = [sys.executable, "-I", "-S", str(_UPSTREAMS)]


@dataclass(frozen=True)
class Workload:
    """One way to keep a proxy busy; `measure` gives seconds."""

    name: str
    what: str
    measure: Callable[[Sut, Path], float]


def stdio_entry() -> dict[str, object]:
    """A server entry of a fast child process."""
    return {"description": "bench", "command": _COMMAND[0], "args": [*_COMMAND[1:], "stdio"]}


@contextmanager
def http_entry() -> Iterator[dict[str, object]]:
    """A server entry of a fast server behind a URL, which runs meanwhile."""
    with subprocess.Popen([*_COMMAND, "http"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            url = server.stdout.readline().decode().strip()
            yield {"description": "bench", "url": url, "type": "http"}
        finally:
            server.stdin.close()


def _client(sut: Sut, folder: Path, entry: dict[str, object]) -> BenchClient:
    config = folder / "config.json"
    config.write_text(json.dumps({"mcpServers": {"g": entry}}))
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "NO_PROXY": "*",
        **sut.environment,
    }
    return BenchClient(sut.command_for(config), environment, sut.profile.tools["call"])


def _in_flight(sut: Sut, folder: Path, entry: dict[str, object], at_once: int, times: int) -> float:
    with _client(sut, folder, entry) as client:
        client.until_listed("g")
        client.calls("g", at_once)  # connections and caches are warm
        return sum(client.calls("g", at_once) for _ in range(times)) / (times * at_once)


def _stdio(at_once: int, times: int) -> Callable[[Sut, Path], float]:
    return lambda sut, folder: _in_flight(sut, folder, stdio_entry(), at_once, times)


def _http(at_once: int, times: int) -> Callable[[Sut, Path], float]:
    def measure(sut: Sut, folder: Path) -> float:
        with http_entry() as entry:
            return _in_flight(sut, folder, entry, at_once, times)

    return measure


WORKLOADS = (
    Workload(
        "stdio-sequential", "one call after the other to a child process, seconds a call", _stdio(1, 400)
    ),
    Workload("stdio-64", "64 calls in flight to a child process, seconds a call", _stdio(64, 20)),
    Workload("http-sequential", "one call after the other over HTTP, seconds a call", _http(1, 300)),
    Workload("http-64", "64 calls in flight over HTTP, seconds a call", _http(64, 15)),
)
