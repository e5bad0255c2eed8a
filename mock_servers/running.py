"""Mocks for tests in Python: a stdio server to be started by what is tested, servers behind a URL that run already.

    with http_mock(folder, Script(era="modern")) as mock:
        ...                         # a client of mock.url
        assert mock.posts("tools/call")

When a block is left, however it is left, no process of its mock lives; starting and stopping are bounded. A server
behind a URL also ends when the process that started it dies, because its stdin does. `mock_servers.pytest_plugin`
makes fixtures of these. Limits: POSIX.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mock_servers import commands
from mock_servers.browser import USER
from mock_servers.journal import Entry
from mock_servers.journal_views import ProtectedSeen, RemoteSeen, Seen, StdioSeen
from mock_servers.lifecycle import MAX_LIFE
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.processes import kill
from mock_servers.script import Script

START_WITHIN = 20.0
_STOP_WITHIN = 5.0
_LOOK_AGAIN = 0.01


class MockError(Exception):
    """A mock did not start or stop, or did not see what was waited for."""


class Mock(Seen):
    """What every mock has: its script, its folder, and what it saw."""

    def __init__(self, script: Script, folder: Path) -> None:
        self.script = script
        self.folder = folder

    def wait_for(self, condition: Callable[[], Any], within: float = 5.0) -> Any:
        """Ask until the answer is true, and return it. Raises `MockError` with the end of the journal.

        For synchronous tests: nothing else runs in this thread meanwhile.
        """
        end = time.monotonic() + within
        while not (value := condition()):
            if time.monotonic() > end:
                raise MockError(f"not within {within:g} s; {self.story()}")
            time.sleep(_LOOK_AGAIN)
        return value

    def story(self, last: int = 30) -> str:
        """The last entries of the journal, for people."""
        entries = self.entries[-last:]
        first = entries[0].t if entries else 0.0
        return "\n".join(["journal:", *(_line(entry, first) for entry in entries)])


class StdioMock(StdioSeen, Mock):
    """A server on stdin and stdout. Whoever is tested starts `command` with `args`, once or often."""

    def __init__(self, script: Script, folder: Path, args: Sequence[str], max_life: float) -> None:
        super().__init__(script, folder)
        self.command, *self.args = commands.stdio(folder, args, max_life=max_life)

    @property
    def entry(self) -> dict[str, Any]:
        """The server's entry in an `mcpServers` configuration."""
        return {"command": self.command, "args": self.args}


class RemoteMock(RemoteSeen, Mock):
    """A server behind a URL, running."""

    def __init__(self, script: Script, folder: Path, process: "Process", facts: dict[str, str]) -> None:
        super().__init__(script, folder)
        self.url = facts["url"]
        self._process = process

    def stop(self) -> None:
        """End it before its time: its port refuses connections from now on."""
        self._process.stop()


class ProtectedMock(ProtectedSeen, RemoteMock):
    """A server that wants a bearer, running together with its authorization server, which knows `client_id`."""

    client_id = CLIENT

    def __init__(self, script: Script, folder: Path, process: "Process", facts: dict[str, str]) -> None:
        super().__init__(script, folder, process, facts)
        self.issuer = facts["issuer"]

    def sign_in(self, url: str, answer: Literal["approves", "denies"] = "approves") -> str:
        """Be the user before the page of an authorization request; the URL to which the browser is sent then.

        Raises `MockError` when the page does not lead anywhere. Of a mock with TLS the page cannot be opened.
        """
        from http.client import HTTPConnection

        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=_STOP_WITHIN)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}", headers={USER: answer})
            response = connection.getresponse()
            location = response.headers["Location"]
            if location is None:
                raise MockError(f"{response.status}: {response.read(2000).decode(errors='replace')}")
            return str(location)
        finally:
            connection.close()


@contextmanager
def stdio_mock(
    folder: Path, script: Script | None = None, *, args: Sequence[str] = (), max_life: float = MAX_LIFE
) -> Iterator[StdioMock]:
    """A server that whoever is tested starts; `args` are only journalled. Of what still runs at the end nothing is
    left (`StdioMock.alive` tells who that would be).
    """
    mock = StdioMock(_save(script, folder), folder, args, max_life)
    try:
        yield mock
    finally:
        left = kill(mock.pids, str(mock.journal), _STOP_WITHIN)
        if left:
            raise MockError(f"cannot be killed: {left}")


@contextmanager
def http_mock(
    folder: Path,
    script: Script | None = None,
    *,
    kind: Literal["http", "sse", "collector"] = "http",
    **place: Any,
) -> Iterator[RemoteMock]:
    """A Streamable HTTP server, or one of HTTP+SSE, or one that only collects; `place` as in `commands.remote`."""
    script = _save(script, folder)
    with _process(commands.remote(kind, folder, **place), folder) as process:
        yield RemoteMock(script, folder, process, process.facts())


@contextmanager
def oauth_mock(
    folder: Path,
    oauth: OAuth | None = None,
    script: Script | None = None,
    *,
    kind: Literal["oauth", "sse"] = "oauth",
    **place: Any,
) -> Iterator[ProtectedMock]:
    """A server that wants a bearer, with its authorization server; `place` as in `commands.remote`."""
    script = _save(replace(script or Script(), oauth=oauth or OAuth()), folder)
    with _process(commands.remote(kind, folder, **place), folder) as process:
        yield ProtectedMock(script, folder, process, process.facts())


def _save(script: Script | None, folder: Path) -> Script:
    script = script or Script()
    script.save(folder / commands.SCRIPT)
    return script


@dataclass(frozen=True)
class Process:
    """The process of a server behind a URL. What it says on stderr is in its folder."""

    popen: "subprocess.Popen[bytes]"
    stderr: Path

    def facts(self) -> dict[str, str]:
        """What it says first. Raises `MockError`."""
        line = b""
        end = time.monotonic() + START_WITHIN
        assert self.popen.stdout
        descriptor = self.popen.stdout.fileno()
        while not line.endswith(b"\n") and _readable(descriptor, end):
            chunk = os.read(descriptor, 4096)
            if not chunk:
                break
            line += chunk
        try:
            facts: dict[str, str] = json.loads(line)
        except ValueError:
            words = self.stderr.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise MockError(f"the mock did not start within {START_WITHIN:g} s: {words}") from None
        return facts

    def stop(self) -> None:
        """End it; more than once is once."""
        assert self.popen.stdin and self.popen.stdout
        self.popen.stdin.close()
        try:
            self.popen.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(_STOP_WITHIN)
        self.popen.stdout.close()


def _readable(descriptor: int, end: float) -> bool:
    return bool(select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0])


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[Process]:
    stderr = folder / "stderr.txt"
    with stderr.open("wb") as file:
        popen = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, bufsize=0
        )
    process = Process(popen, stderr)
    try:
        yield process
    finally:
        process.stop()


def _line(entry: Entry, first: float) -> str:
    data = {
        name: value for name, value in entry.data.items() if name not in ("env", "fds", "text", "headers")
    }
    words = f"{entry.text} {json.dumps(data) if data else ''}"
    return (
        f"{entry.t - first:8.3f} {entry.event} {words if len(words) < 300 else words[:300] + '...'}".rstrip()
    )
