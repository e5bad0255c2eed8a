"""Clients that cost as little as possible: they write a whole batch at once and count the answers as they arrive.

`LineClient` talks to a started process: a proxy or, for the direct line, an upstream itself. `DirectHttpClient` talks directly to a
server behind a URL. Both raise `HarnessError` when an answer is late or wrong.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from conformance.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    #: returns the params of `tools/call` for a tool of a group and its arguments
    Wrap = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]

#: seconds for an answer, and for a group to become usable
DEADLINE = 60.0
_ECHO = {"text": "hello"}
_LARGEST_PIECE = 1 << 20


class Caller(Protocol):
    """A client that can call tools."""

    def burst(self, group: str, tool: str, arguments: Mapping[str, Any], count: int) -> float:
        """Send `count` calls at once; returns the seconds until the last answer."""
        ...


def call_directly(group: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The params for a direct call to an upstream, which knows no groups."""
    return {"name": tool, "arguments": arguments}


def echoes(caller: Caller, group: str, count: int, at_once: int = 1) -> list[float]:
    """Make `count` bursts of echo calls; returns the seconds of each."""
    return [caller.burst(group, "echo", _ECHO, at_once) for _ in range(count)]


def _check(answers: Sequence[bytes], tool: str) -> None:
    expected = {"echo": b"hello", "sleep": b"slept", "blob": b"xxx"}[tool]
    for line in answers:
        if expected not in line:
            raise HarnessError(f"a call of {tool} failed: {line[:200].decode(errors='replace')}")


class LineClient:
    """A client and the process that it started. Entering the context makes the handshake."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], wrap: Wrap = call_directly
    ) -> None:
        self._wrap = wrap
        self._pieces: list[bytes] = []
        self._lines: list[bytes] = []
        self._last_id = 0
        #: its own name and version
        self.server: dict[str, Any] = {}
        #: seconds from the start of the process to the answer to `initialize`
        self.introduced = 0.0
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            bufsize=0,
        )

    def __enter__(self) -> LineClient:
        try:
            self.introduce()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def introduce(self) -> None:
        """Make the handshake."""
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        }
        answer = self.ask("initialize", params)
        self.introduced = self.age()
        self.server = answer["result"]["serverInfo"]
        self._write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def age(self) -> float:
        """Seconds since the start of the process."""
        return time.perf_counter() - self._started

    def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        self._write(self._request(method, params))
        answer: dict[str, Any] = json.loads(self.read(1)[0])
        return answer

    def send(self, group: str, tool: str, arguments: Mapping[str, Any]) -> None:
        """Send a call and do not wait; `read` returns the answer."""
        self._write(self._request("tools/call", self._wrap(group, tool, arguments)))

    def burst(self, group: str, tool: str, arguments: Mapping[str, Any], count: int) -> float:
        """See `Caller`."""
        params = self._wrap(group, tool, arguments)
        lines = b"".join(self._request("tools/call", params) for _ in range(count))
        begin = time.perf_counter()
        self._write(lines)
        answers = self.read(count)
        seconds = time.perf_counter() - begin
        _check(answers, tool)
        return seconds

    def echo_works(self, group: str) -> bool:
        """Make one call; returns whether the answer is right."""
        self.send(group, "echo", _ECHO)
        return b"hello" in self.read(1)[0]

    def until_usable(self, groups: Sequence[str]) -> None:
        """Wait until each group has answered a call."""
        deadline = time.monotonic() + DEADLINE
        for group in groups:
            while not self.echo_works(group):
                _wait_a_little(deadline, f"group {group} is not usable")

    def until_shown(self, groups: Sequence[str]) -> None:
        """Wait until the list of tools names every group."""
        deadline = time.monotonic() + DEADLINE
        while True:
            listed = json.dumps(self.ask("tools/list", {}))
            if all(group in listed for group in groups):
                return
            _wait_a_little(deadline, "the groups are not listed")

    def read(self, count: int) -> list[bytes]:
        """The next `count` answers in order of arrival, without notifications."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + DEADLINE
        while len(self._lines) < count:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                missing = count - len(self._lines)
                raise HarnessError(f"{missing} of {count} answers did not arrive within {DEADLINE:g} s")
            chunk = os.read(descriptor, _LARGEST_PIECE)
            if not chunk:
                raise HarnessError("the implementation exited during the measurement")
            first, *more = chunk.split(b"\n")
            self._pieces.append(first)
            if more:
                # Joins the pieces only once, because a growing buffer would take quadratic time for a large answer.
                whole = [b"".join(self._pieces), *more[:-1]]
                self._pieces = [more[-1]]
                self._lines += [line for line in whole if b'"id"' in line]
        found, self._lines = self._lines[:count], self._lines[count:]
        return found

    def _request(self, method: str, params: Mapping[str, Any]) -> bytes:
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        return json.dumps(message).encode() + b"\n"

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except BrokenPipeError:
            raise HarnessError("the implementation exited during the measurement") from None


def _wait_a_little(deadline: float, otherwise: str) -> None:
    if time.monotonic() > deadline:
        raise HarnessError(f"{otherwise} within {DEADLINE:g} s")
    time.sleep(0.005)


class DirectHttpClient:
    """Calls to a server behind a URL. Simultaneous calls have a persistent connection each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self._address = parts.hostname, parts.port
        self._path = parts.path
        self._connections: list[socket.socket] = []

    def __enter__(self) -> DirectHttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    def burst(self, group: str, tool: str, arguments: Mapping[str, Any], count: int) -> float:
        """See `Caller`."""
        params = call_directly(group, tool, arguments)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
        head = f"POST {self._path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        while len(self._connections) < count:
            self._connections.append(socket.create_connection(self._address, DEADLINE))
        used = self._connections[:count]
        begin = time.perf_counter()
        for connection in used:
            connection.sendall(head.encode() + body)
        answers = [_reply(connection) for connection in used]
        seconds = time.perf_counter() - begin
        _check(answers, tool)
        return seconds


def _reply(connection: socket.socket) -> bytes:
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return body
        chunk = connection.recv(_LARGEST_PIECE)
        if not chunk:
            raise HarnessError("the server closed the connection during the measurement")
        data += chunk
