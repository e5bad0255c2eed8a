"""Scripted upstreams behind a URL: the workbench starts them before the implementation and ends them at its own end.

Every property reads the journal of the upstream anew (`mock_servers.journal_views`). `http` lists the HTTP requests in order, with the
response and the end of each; `requests(method)` lists the messages in them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from conformance.errors import HarnessError, Violation
from conformance.workbench.deadlines import extended
from conformance.workbench.forkserver import fork_server
from conformance.workbench.launched import Launched, StdoutListener, launch
from conformance.workbench.mocks import MockUpstream
from conformance.workbench.shown import show
from mock_servers.commands import RemoteKind, remote
from mock_servers.journal_views import HttpRequest, RemoteJournalView
from mock_servers.lifecycle import MAX_LIFE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conformance.workbench.census import Census
    from conformance.workbench.timeline import Timeline

_START = 10.0
_STOP = 2.0


class SingleHeaders(HttpRequest):
    """A request whose headers occur once each: a check that reads a header relies on that."""

    def header(self, name: str) -> str | None:
        """The value of a header; None = absent. Raises `Violation` for a repeated header."""
        if len(self.values(name)) > 1:
            raise Violation(f"one header {name}", f"{len(self.values(name))} of them in {self}")
        return super().header(name)


@dataclass(frozen=True)
class RemoteMockUpstream(RemoteJournalView, MockUpstream):
    """A scripted server behind a URL."""

    request_type: ClassVar[type[HttpRequest]] = SingleHeaders

    kind: RemoteKind
    url: str
    process: RemoteProcess

    def _place(self) -> dict[str, Any]:
        return {"url": self.url, **({"type": "sse"} if self.kind == "sse" else {})}

    def at(self, target: str) -> str:
        """The URL of this path and query at the same origin."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{target}"

    @property
    def _seen(self) -> Sequence[object]:
        return self.http or self.events("connection") or self.events("tls-hello")

    @property
    def was_contacted(self) -> bool:
        """Whether anything arrived, even a connection without a request."""
        return bool(self._seen)

    def saw_nothing(self) -> None:
        """Raise `Violation` if anything arrived, even a connection without a request."""
        if self.was_contacted:
            raise Violation(f"nothing reaches {self.name} at {self.url}", show(self._seen))

    async def stop(self) -> None:
        """End the server; its port refuses connections from then on."""
        await self.process.stop()


class RemoteProcess:
    """The process of a remote upstream; None = it has not started yet."""

    def __init__(self, launched: Launched | None) -> None:
        self._launched = launched
        self._stopped = False

    def take_over(self, other: RemoteProcess) -> None:
        """Be the same process as `other`, which has started."""
        self._launched = other._launched

    async def stop(self) -> None:
        """End the process. Further calls do nothing."""
        if self._stopped or self._launched is None:
            return
        self._stopped = True
        try:
            await self._launched.finish(_STOP)
        finally:
            self._launched.release()


class _FirstLine(StdoutListener):
    def __init__(self) -> None:
        self.arrived = anyio.Event()

    def on_stdout(self, data: bytes) -> None:
        if b"\n" in data:
            self.arrived.set()

    def on_stdout_end(self) -> None:
        self.arrived.set()


async def start_remote(
    kind: RemoteKind,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    timeline: Timeline,
    census: Census,
    *,
    port: int,
    host: str,
    tls: tuple[Path, Path] | None,
) -> tuple[RemoteProcess, dict[str, str]]:
    """Start the mock whose script is in `folder` and wait for its first line: a JSON object with its `url` and other facts."""
    command = remote(kind, folder, port=port, host=host, tls=tls, max_life=extended(MAX_LIFE))
    line = _FirstLine()
    actor = f"mock {name}"
    server = fork_server()
    if server is None:
        launched = launch(command, env=environment, cwd=folder, actor=actor, timeline=timeline, listener=line)
    else:
        mock = await to_thread.run_sync(server.fork, command, environment, folder)
        census.include(mock.pid)
        timeline.record(actor, "start", f"pid {mock.pid}: {' '.join(command)}")
        launched = Launched(mock, mock.streams, actor, timeline, line)
    started = RemoteProcess(launched)
    with anyio.move_on_after(_START):
        await line.arrived.wait()
    try:
        facts: dict[str, str] = json.loads(bytes(launched.stdout.data).partition(b"\n")[0])
        return started, facts
    except ValueError as problem:
        await launched.wait(1.0)
        stderr = launched.stderr.data.decode(errors="replace")[-600:]
        await started.stop()
        raise HarnessError(f"{actor} did not start: {stderr}") from problem
