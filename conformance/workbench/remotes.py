"""Scripted upstreams behind a URL: started by the workbench before the implementation, ended with it.

What a remote upstream saw is read from its journal at the moment of the question: `http` is every HTTP
request in order, with what it was answered with and how it ended; `requests(method)` are the messages in
them.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

import anyio

from conformance.errors import HarnessError, Violation
from conformance.workbench.launched import Launched, Listener, launch
from conformance.workbench.mocks import MAIN, Upstream, mock_options
from conformance.workbench.polling import show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conformance.workbench.timeline import Timeline
    from mock_servers.journal import Entry

Kind: TypeAlias = Literal["http", "sse", "collector", "oauth"]
_START = 10.0
_PATIENCE = 2.0


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """One HTTP request that reached an upstream. Times are monotonic seconds; `headers` are the pairs
    exactly as sent.
    """

    t: float
    n: int
    connection: int
    method: str
    #: path and query
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    #: what it was answered with; None = not yet, or with no proper response
    status: int | None
    ended: float | None
    #: "server", "client" (it went away first) or "cut" (the script broke the connection)
    ended_by: str | None

    def header(self, name: str) -> str | None:
        """The value of a header; None = absent. Raises `Violation` when it was sent more than once."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        if len(values) > 1:
            raise Violation(f"one header {name}", f"{len(values)} of them in {self}")
        return values[0] if values else None

    @property
    def message(self) -> Any:
        """The JSON value of the body; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def rpc(self) -> str | None:
        """The JSON-RPC method in the body."""
        method = self.message.get("method") if isinstance(self.message, dict) else None
        return method if isinstance(method, str) else None

    @property
    def is_probe(self) -> bool:
        """Whether it only asks for the modern era, which says nothing about the conversation itself."""
        return self.rpc == "server/discover"

    def __repr__(self) -> str:
        return (
            f"#{self.n} {self.method} {self.target} {self.rpc or ''} -> {self.status}, headers {self.headers}"
        )


@dataclass(frozen=True)
class RemoteUpstream(Upstream):
    """A scripted server behind a URL."""

    arrivals: ClassVar[tuple[str, ...]] = ("http-request",)

    kind: Kind
    url: str
    process: Started

    def _place(self) -> dict[str, Any]:
        return {"url": self.url, **({"type": "sse"} if self.kind == "sse" else {})}

    def at(self, target: str) -> str:
        """The URL of this path and query at the same origin."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{target}"

    @property
    def http(self) -> list[HttpRequest]:
        """Every HTTP request so far, in the order of arrival."""
        entries = self.entries
        status = {
            entry.data["n"]: entry.data["status"] for entry in entries if entry.event == "http-response"
        }
        ends = {entry.data["n"]: entry for entry in entries if entry.event == "http-end"}
        arrived = [entry for entry in entries if entry.event == "http-request"]
        return [_request(entry, status.get(entry.data["n"]), ends.get(entry.data["n"])) for entry in arrived]

    def posts(self, method: str | None = None) -> list[HttpRequest]:
        """The POSTs that are no probes, of this JSON-RPC method if named."""
        posts = [request for request in self.http if request.method == "POST" and not request.is_probe]
        return [request for request in posts if method in (None, request.rpc)]

    @property
    def sessions(self) -> list[str]:
        """The session ids that were assigned, in order."""
        headers = (dict(entry.data["headers"]) for entry in self.events("http-response"))
        assigned = (sent["Mcp-Session-Id"] for sent in headers if "Mcp-Session-Id" in sent)
        return list(dict.fromkeys(assigned))

    @property
    def streams(self) -> list[HttpRequest]:
        """The GETs that were answered with a stream."""
        return [request for request in self.http if request.method == "GET" and request.status == 200]

    @property
    def verbs(self) -> Counter[str]:
        """How often each HTTP method was used, probes left out."""
        return Counter(request.method for request in self.http if not request.is_probe)

    def saw_nothing(self) -> None:
        """Raise `Violation` if anything arrived, were it a connection without a request."""
        seen = self.http or self.events("connection") or self.events("tls-hello")
        if seen:
            raise Violation(f"nothing reaches {self.name} at {self.url}", show(seen))

    async def stop(self) -> None:
        """End the server: its port refuses connections from now on."""
        await self.process.stop()


def _request(entry: Entry, status: int | None, end: Entry | None) -> HttpRequest:
    data = entry.data
    body = b64decode(data["base64"]) if "base64" in data else entry.text.encode()
    headers = [(name, value) for name, value in data["headers"]]
    ended = (None, None) if end is None else (end.t, end.data["by"])
    place = data["n"], data["connection"], data["method"], data["target"]
    return HttpRequest(entry.t, *place, headers, body, status, *ended)


class Started:
    """The process of a remote upstream."""

    def __init__(self, launched: Launched) -> None:
        self._launched = launched
        self._stopped = False

    async def stop(self) -> None:
        """End it; more than once is once."""
        if self._stopped:
            return
        self._stopped = True
        try:
            await self._launched.finish(_PATIENCE)
        finally:
            self._launched.release()


class _FirstLine(Listener):
    def __init__(self) -> None:
        self.arrived = anyio.Event()

    def on_stdout(self, data: bytes) -> None:
        if b"\n" in data:
            self.arrived.set()

    def on_stdout_end(self) -> None:
        self.arrived.set()


async def start_remote(
    kind: Kind,
    name: str,
    folder: Path,
    environment: Mapping[str, str],
    timeline: Timeline,
    *,
    port: int,
    host: str,
    tls: tuple[Path, Path] | None,
) -> tuple[Started, dict[str, str]]:
    """Start the mock whose script is in `folder` and wait for what it says first: its `url`, ..."""
    options = [*mock_options(folder), "--port", str(port), "--host", host]
    if tls is not None:
        options += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
    command = [sys.executable, "-I", str(MAIN), kind, *options]
    line = _FirstLine()
    actor = f"mock {name}"
    launched = launch(command, env=environment, cwd=folder, actor=actor, timeline=timeline, listener=line)
    started = Started(launched)
    with anyio.move_on_after(_START):
        await line.arrived.wait()
    try:
        facts: dict[str, str] = json.loads(bytes(launched.stdout.data).partition(b"\n")[0])
        return started, facts
    except ValueError as problem:
        await launched.wait(1.0)
        words = launched.stderr.data.decode(errors="replace")[-600:]
        await started.stop()
        raise HarnessError(f"{actor} did not start: {words}") from problem
