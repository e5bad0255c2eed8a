"""Scripted upstream servers: their entries in the configuration, and their journals.

The implementation starts a stdio mock, not the runner, so only the journal of the mock shows its life. Every property reads the
journal anew (`mock_servers.journal_views`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio

from conformance.errors import HarnessError, Violation
from conformance.workbench import launcher
from conformance.workbench.deadlines import extended
from conformance.workbench.listing_forms import description_of
from conformance.workbench.polling import INTERVAL, eventually
from conformance.workbench.shown import show
from conformance.workbench.timeline import shorten
from mock_servers.journal import Entry
from mock_servers.journal_views import JournalView, Request, Start, StdioJournalView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mock_servers.script import Script


@dataclass(frozen=True)
class MockUpstream(JournalView):
    """A scripted server and its journal. `fields` are the other members of its entry."""

    name: str
    script: Script
    folder: Path
    fields: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    #: the entry, if it is not made of the fields above
    whole: Mapping[str, Any] | None = field(default=None, kw_only=True)

    @property
    def entry(self) -> dict[str, Any]:
        """The server entry in the configuration."""
        if self.whole is not None:
            return dict(self.whole)
        return {"description": description_of(self.name), **self._place(), **self.fields}

    def _place(self) -> dict[str, Any]:
        """The members that tell where the upstream is."""
        raise NotImplementedError

    def variant(self, *without: str, **changes: Any) -> Self:
        """The same upstream and journal, with an entry without some members and with `changes`."""
        entry = {**self.entry, **changes}
        return self.with_entry({name: value for name, value in entry.items() if name not in without})

    def with_entry(self, entry: Mapping[str, Any]) -> Self:
        """The same upstream and journal, with this whole entry."""
        return replace(self, whole=entry)

    @property
    def entries(self) -> list[Entry]:
        """The whole journal so far."""
        if not self.folder.is_dir():
            raise HarnessError(f"the workbench of upstream {self.name} is closed and its journal deleted")
        return super().entries

    @property
    def tool_names(self) -> list[str]:
        return [tool["name"] for tool in self.script.tools or []]

    @property
    def first_call(self) -> Request:
        """The first tool call that the upstream has read. Raises `Violation` without one."""
        calls = self.requests("tools/call")
        if not calls:
            raise Violation(
                f"a tool call reaches upstream {self.name}",
                show([entry.text for entry in self.entries if entry.event in self.arrivals]),
            )
        return calls[0]


@dataclass(frozen=True)
class StdioMockUpstream(StdioJournalView, MockUpstream):
    """A scripted stdio server, which the implementation starts by its `program` (see `launcher`) with the arguments `args`."""

    program: Path
    args: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        return str(self.program)

    def _place(self) -> dict[str, Any]:
        command, *words = launcher.command(self.program, self.args)
        return {"command": command, "args": words}

    async def started(self, within: float = 5.0) -> Start:
        """Wait for the first start and return it. Raises `Violation` after `within` seconds."""
        starts: list[Start] = await eventually(
            lambda: self.starts,
            within=within,
            what=f"the implementation starts upstream {self.name} within {within:g} s",
        )
        return starts[0]

    async def gone(self, within: float) -> None:
        """Wait until none of its processes lives. Raises `Violation` after `within` seconds."""
        deadline = time.monotonic() + extended(within)
        while living := self.alive:
            if time.monotonic() >= deadline:
                what = f"no process of upstream {self.name} lives after {within:g} s"
                raise Violation(what, f"alive: {living}")
            await anyio.sleep(INTERVAL)

    def must_not_have_started(self) -> None:
        """Raise `Violation` if the implementation has started it. Proves nothing about later: first wait for a later event."""
        if self.starts:
            seen = "; ".join(shorten(f"pid {start.pid}, arguments {start.args}") for start in self.starts)
            raise Violation(f"the implementation never starts upstream {self.name}", seen)
