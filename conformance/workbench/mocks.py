"""Scripted upstream servers by name: what goes into the configuration, and what the mock wrote down.

The implementation starts a stdio mock, not we; it therefore says in its journal that it lived. It runs on an
isolated interpreter (`-I -S`), so that neither the environment under test nor the working directory can
change it. Everything here is read from the journal at the moment of the question.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio
import psutil

import mock_servers
from conformance.errors import HarnessError, Violation
from conformance.workbench.patience import prolonged
from conformance.workbench.polling import INTERVAL, eventually, show
from conformance.workbench.timeline import shorten
from mock_servers.journal import Entry, read_journal
from mock_servers.life import MAX_LIFE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mock_servers.script import Script

MAIN = Path(mock_servers.__file__).resolve().parent / "__main__.py"


def mock_options(folder: Path) -> list[str]:
    """The options of a mock whose script and journal are in this folder."""
    options = ["--journal", str(folder / "journal.jsonl"), "--script", str(folder / "script.json")]
    life = prolonged(MAX_LIFE)
    return options if life == MAX_LIFE else [*options, "--max-life", f"{life:g}"]


@dataclass(frozen=True)
class Start:
    """One start of an upstream: its arguments after `--`, environment, directory and place among the
    processes.
    """

    t: float
    pid: int
    args: list[str]
    env: dict[str, str]
    cwd: str
    ppid: int
    pgid: int | None
    sid: int | None
    fds: dict[str, str]

    @staticmethod
    def of(entry: Entry) -> Start:
        data = entry.data
        place = data["ppid"], data["pgid"], data["sid"], data["fds"]
        return Start(entry.t, entry.pid, data["args"], data["env"], data["cwd"], *place)


@dataclass(frozen=True)
class UpstreamRequest:
    """A request (or notification) that reached an upstream; `text` is the line as it came."""

    t: float
    pid: int
    message: dict[str, Any]
    text: str

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def params(self) -> Any:
        return self.message.get("params")


@dataclass(frozen=True)
class Upstream:
    """A scripted server, by its journal. `fields` are the entry's other fields."""

    #: the events of the journal that hold messages
    arrivals: ClassVar[tuple[str, ...]] = ("line",)

    name: str
    script: Script
    folder: Path
    fields: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    #: the entry itself, when it is not to be made from the above
    whole: Mapping[str, Any] | None = field(default=None, kw_only=True)

    @property
    def entry(self) -> dict[str, Any]:
        """The server entry of the configuration."""
        if self.whole is not None:
            return dict(self.whole)
        return {"description": f"The {self.name} upstream", **self._place(), **self.fields}

    def _place(self) -> dict[str, Any]:
        """The fields that say where the upstream is."""
        raise NotImplementedError

    def but(self, *without: str, **changes: Any) -> Self:
        """The same upstream, same journal, its entry without some fields and with others changed or added."""
        entry = {**self.entry, **changes}
        return self.exactly({name: value for name, value in entry.items() if name not in without})

    def exactly(self, entry: Mapping[str, Any]) -> Self:
        """The same upstream, same journal, with this as its whole entry."""
        return replace(self, whole=entry)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def entries(self) -> list[Entry]:
        """The whole journal so far."""
        if not self.folder.is_dir():
            raise HarnessError(f"the workbench of upstream {self.name} is closed, its journal is gone")
        return read_journal(self.journal)

    @property
    def tool_names(self) -> list[str]:
        return [tool["name"] for tool in self.script.tools or []]

    @property
    def pids(self) -> list[int]:
        """Every process that ever wrote into the journal, grandchildren included."""
        return sorted({entry.pid for entry in self.entries})

    def events(self, event: str) -> list[Entry]:
        """The entries of one kind, see `mock_servers.journal.Entry`."""
        return [entry for entry in self.entries if entry.event == event]

    def requests(self, method: str) -> list[UpstreamRequest]:
        """The messages with this method that the upstream has read."""
        lines = [entry for entry in self.entries if entry.event in self.arrivals]
        messages = [UpstreamRequest(entry.t, entry.pid, entry.message or {}, entry.text) for entry in lines]
        return [request for request in messages if request.message.get("method") == method]

    @property
    def first_call(self) -> UpstreamRequest:
        """The first tool call that the upstream has read. Raises `Violation`."""
        calls = self.requests("tools/call")
        if not calls:
            raise Violation(
                f"a tool call reaches upstream {self.name}",
                show([entry.text for entry in self.entries if entry.event in self.arrivals]),
            )
        return calls[0]


@dataclass(frozen=True)
class StdioUpstream(Upstream):
    """A scripted stdio server, which the implementation starts; `args` follow the mock's own after `--`."""

    args: tuple[str, ...] = ()

    def _place(self) -> dict[str, Any]:
        options = mock_options(self.folder)
        argv = ["-I", "-S", str(MAIN), "stdio", *options, "--", *self.args]
        return {"command": sys.executable, "args": argv}

    @property
    def starts(self) -> list[Start]:
        return [Start.of(entry) for entry in self.events("start")]

    @property
    def alive(self) -> list[int]:
        """Those of `pids` that live, by its command line, so that a reused pid is nobody; a zombie is dead."""
        return [pid for pid in self.pids if self._is_alive(pid)]

    def _is_alive(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return str(self.journal) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def lines(self) -> list[str]:
        """Every line that the upstream has read."""
        return [entry.text for entry in self.events("line")]

    async def started(self, within: float = 5.0) -> Start:
        """Wait for the first start and return it. Raises `Violation`."""
        starts: list[Start] = await eventually(
            lambda: self.starts, within=within, what=f"upstream {self.name} is started within {within:g} s"
        )
        return starts[0]

    async def gone(self, within: float) -> None:
        """Wait until none of its processes lives. Raises `Violation`."""
        deadline = time.monotonic() + prolonged(within)
        while living := self.alive:
            if time.monotonic() >= deadline:
                what = f"no process of upstream {self.name} lives after {within:g} s"
                raise Violation(what, f"alive: {living}")
            await anyio.sleep(INTERVAL)

    def was_never_started(self) -> None:
        """Raise `Violation` if it was. Says nothing about later: wait first for what comes after it."""
        if self.starts:
            seen = "; ".join(shorten(f"pid {start.pid}, arguments {start.args}") for start in self.starts)
            raise Violation(f"upstream {self.name} is never started", seen)
