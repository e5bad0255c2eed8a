"""Mocks as context managers for tests in Python.

    with http_mock(folder, Script(era="modern")) as mock:
        ...                         # a client of mock.url
        assert mock.posts("tools/call")

A server behind a URL runs inside its block. The program under test starts a stdio server. After the block, no process of the mock lives,
even if the block raised an exception. Start and stop have deadlines. A server behind a URL also ends when the process that started it dies,
because its stdin ends. `mock_servers.pytest_plugin` makes fixtures of these. Limits: POSIX.
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
from mock_servers.journal_views import JournalView, ProtectedJournalView, RemoteJournalView, StdioJournalView
from mock_servers.lifecycle import MAX_LIFE
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.processes import kill
from mock_servers.script import Script

START_WITHIN = 20.0
_STOP_WITHIN = 5.0
_POLL_INTERVAL = 0.01


class MockError(Exception):
    """A mock did not start or stop, or a wait for it timed out."""


class Mock(JournalView):
    """Every mock: its script, its folder, and its journal."""

    def __init__(self, script: Script, folder: Path) -> None:
        self.script = script
        self.folder = folder

    def wait_for(self, condition: Callable[[], Any], within: float = 5.0) -> Any:
        """Poll until the condition is true, and return its value. Raises `MockError` with the end of the journal.

        For synchronous tests: the wait blocks this thread.
        """
        end = time.monotonic() + within
        while not (value := condition()):
            if time.monotonic() > end:
                raise MockError(f"not within {within:g} s; {self.journal_text()}")
            time.sleep(_POLL_INTERVAL)
        return value

    def journal_text(self, last: int = 30) -> str:
        """The last entries of the journal, one a line, for people."""
        entries = self.entries[-last:]
        first = entries[0].t if entries else 0.0
        return "\n".join(["journal:", *(_line(entry, first) for entry in entries)])


class StdioMock(StdioJournalView, Mock):
    """A server on stdin and stdout. The program under test starts `command` with `args`, once or several times."""

    def __init__(self, script: Script, folder: Path, args: Sequence[str], max_life: float) -> None:
        super().__init__(script, folder)
        self.command, *self.args = commands.stdio(folder, args, max_life=max_life)

    @property
    def entry(self) -> dict[str, Any]:
        """The server's entry in an `mcpServers` configuration."""
        return {"command": self.command, "args": self.args}


class RemoteMock(RemoteJournalView, Mock):
    """A running server behind a URL."""

    def __init__(self, script: Script, folder: Path, process: "MockProcess", urls: dict[str, str]) -> None:
        super().__init__(script, folder)
        self.url = urls["url"]
        self._process = process

    def stop(self) -> None:
        """End the server before its block ends; its port then refuses connections."""
        self._process.stop()


class ProtectedMock(ProtectedJournalView, RemoteMock):
    """A running server that requires a bearer token, and its authorization server, which knows `client_id`."""

    client_id = CLIENT

    def __init__(self, script: Script, folder: Path, process: "MockProcess", urls: dict[str, str]) -> None:
        super().__init__(script, folder, process, urls)
        self.issuer = urls["issuer"]

    def sign_in(self, url: str, answer: Literal["approves", "denies"] = "approves") -> str:
        """Answer an authorization request as the user, and return the URL to which the server redirects the browser.

        Raises `MockError` if the server does not redirect. Limits: no TLS.
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
    """A stdio server for the program under test to start; the server only journals `args`. The end of the block kills
    every process that is still in `StdioMock.alive`.
    """
    mock = StdioMock(_save(script, folder), folder, args, max_life)
    try:
        yield mock
    finally:
        living = kill(mock.pids, str(mock.journal), _STOP_WITHIN)
        if living:
            raise MockError(f"cannot kill these processes: {living}")


@contextmanager
def http_mock(
    folder: Path,
    script: Script | None = None,
    *,
    kind: Literal["http", "sse", "collector"] = "http",
    **address: Any,
) -> Iterator[RemoteMock]:
    """A Streamable HTTP server, an HTTP+SSE server, or a collector; `address` is for `commands.remote`."""
    script = _save(script, folder)
    with _process(commands.remote(kind, folder, **address), folder) as process:
        yield RemoteMock(script, folder, process, process.read_urls())


@contextmanager
def oauth_mock(
    folder: Path,
    oauth: OAuth | None = None,
    script: Script | None = None,
    *,
    kind: Literal["oauth", "sse"] = "oauth",
    **address: Any,
) -> Iterator[ProtectedMock]:
    """A server that requires a bearer token, and its authorization server; `address` is for `commands.remote`."""
    script = _save(replace(script or Script(), oauth=oauth or OAuth()), folder)
    with _process(commands.remote(kind, folder, **address), folder) as process:
        yield ProtectedMock(script, folder, process, process.read_urls())


def _save(script: Script | None, folder: Path) -> Script:
    script = script or Script()
    script.save(folder / commands.SCRIPT)
    return script


@dataclass(frozen=True)
class MockProcess:
    """The process of a server behind a URL. The file `stderr` holds its stderr."""

    popen: "subprocess.Popen[bytes]"
    stderr: Path

    def read_urls(self) -> dict[str, str]:
        """The `url`, and perhaps `issuer`, from the first line of its stdout. Raises `MockError`."""
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
            urls: dict[str, str] = json.loads(line)
        except ValueError:
            words = self.stderr.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise MockError(f"the mock did not start within {START_WITHIN:g} s: {words}") from None
        return urls

    def stop(self) -> None:
        """End the process; a second call does nothing."""
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
def _process(command: list[str], folder: Path) -> Iterator[MockProcess]:
    stderr = folder / "stderr.txt"
    with stderr.open("wb") as file:
        popen = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, bufsize=0
        )
    process = MockProcess(popen, stderr)
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
