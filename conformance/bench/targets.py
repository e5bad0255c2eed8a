"""What is measured: implementations by their command lines, and the direct line from client to upstream, which is the physical limit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from conformance.bench.client import HttpClient, LineClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conformance.bench.client import Caller
    from conformance.bench.servers import Entry
    from conformance.sut import Sut

CONFIG = "config.json"


class Target(Protocol):
    """Whatever calls can be sent through."""

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> AbstractContextManager[Caller]:
        """Start it in front of these servers, by group."""
        ...


@dataclass(frozen=True)
class Implementation:
    """A proxy."""

    sut: Sut

    @property
    def name(self) -> str:
        """The name of its profile."""
        return self.sut.name

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> LineClient:
        """See `Target`; the configuration is `CONFIG` in the folder."""
        write_config(folder, entries)
        environment = {**_environment(folder), **self.sut.environment}
        return LineClient(self.sut.command_for(folder / CONFIG), environment, self._wrap)

    def _wrap(self, group: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        inner = {"group": group, "name": tool, "args": arguments}
        return {"name": self.sut.profile.tools["call"], "arguments": inner}


@dataclass(frozen=True)
class Direct:
    """No proxy at all: the client speaks to the first of the servers."""

    name: str = "direct"

    def open(self, folder: Path, entries: Mapping[str, Entry]) -> LineClient | HttpClient:
        """See `Target`."""
        entry = next(iter(entries.values()))
        if "url" in entry:
            return HttpClient(entry["url"])
        return LineClient([entry["command"], *entry["args"]], _environment(folder))


def write_config(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Write the configuration, in place where there is one."""
    (folder / CONFIG).write_text(json.dumps({"mcpServers": entries}))


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "NO_PROXY": "*"}
