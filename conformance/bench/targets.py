"""The targets of the benchmark: proxies by their command lines, and two limits for all of them: no proxy, and a relay of bytes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from conformance.bench.client import DirectHttpClient, LineClient
from conformance.bench.figures import DIRECT, RELAY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from conformance.bench.client import Caller
    from conformance.bench.servers import Entry
    from conformance.model.sut import Sut

CONFIG = "config.json"


class Target(Protocol):
    """Something that can pass on calls to upstreams."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> AbstractContextManager[Caller]:
        """Start it in front of these servers, which are named by group."""
        ...


@dataclass(frozen=True)
class ProxyTarget:
    """A proxy."""

    sut: Sut

    @property
    def name(self) -> str:
        """The name of its profile."""
        return self.sut.name

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> LineClient:
        """See `Target`. The configuration is `CONFIG` in the folder."""
        write_config(folder, entries)
        environment = {**_environment(folder), **self.sut.environment}
        return LineClient(self.sut.command_for(folder / CONFIG), environment, self._wrap)

    def _wrap(self, group: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        inner = {"group": group, "name": tool, "args": arguments}
        return {"name": self.sut.profile.tools["call"], "arguments": inner}


@dataclass(frozen=True)
class DirectTarget:
    """No proxy: the client talks directly to the first of the servers."""

    name: str = DIRECT

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> LineClient | DirectHttpClient:
        """See `Target`."""
        entry = next(iter(entries.values()))
        if "url" in entry:
            return DirectHttpClient(entry["url"])
        return self.child(folder, entry)

    def child(self, folder: Path, entry: Entry) -> LineClient:
        """Start the child process of an entry."""
        return LineClient([entry["command"], *entry["args"]], _environment(folder))


@dataclass(frozen=True)
class RelayTarget:
    """The least that a proxy must do: a process relays bytes between the client and the first of the servers."""

    name: str = RELAY

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> LineClient:
        """See `Target`."""
        entry = next(iter(entries.values()))
        relay = [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py"))]
        return LineClient([*relay, entry["command"], *entry["args"]], _environment(folder))


def write_config(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the configuration, in place if there is one."""
    (folder / CONFIG).write_text(json.dumps({"mcpServers": entries}))


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "NO_PROXY": "*"}
