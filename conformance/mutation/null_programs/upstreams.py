"""Connections to upstreams of the legacy era, with the standard library alone: stdio, Streamable HTTP and HTTP+SSE."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import threading
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
VERSION = "2025-11-25"
#: seconds for an answer of an upstream
PATIENCE = 30.0
_OPENING = {
    "protocolVersion": VERSION,
    "capabilities": {},
    "clientInfo": {"name": "null-program", "version": "1"},
}


class Lost(Exception):
    """The upstream is gone, or does not answer."""


class SmallUpstream:
    """A server that has been initialized."""

    def request(self, method: str, params: Json) -> Json:
        """The `result` or the `error`, as one member. Raises `Lost`."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection."""


class StreamUpstream(SmallUpstream):
    """A server whose messages come one after the other, so that ids tell which answer belongs to which request."""

    def __init__(self) -> None:
        self.waiting: dict[int, queue.SimpleQueue[Json | None]] = {}
        self._ids = itertools.count(1)
        self._order = threading.Lock()  # a request waits from the moment at which it is sent
        threading.Thread(target=self._read, daemon=True).start()
        self.request("initialize", _OPENING)
        self.send({"method": "notifications/initialized"})

    def send(self, message: Json) -> None:
        """Write one message. Raises `Lost` when the server is gone."""
        raise NotImplementedError

    def lines(self) -> Iterator[bytes]:
        """What the server sends, message by message, until it is gone."""
        raise NotImplementedError

    def request(self, method: str, params: Json) -> Json:
        identity = next(self._ids)
        with self._order:
            answers = self.waiting[identity] = queue.SimpleQueue()
            self.send({"id": identity, "method": method, "params": params})
        try:
            answer = answers.get(timeout=PATIENCE)
        except queue.Empty:
            answer = None
        self.waiting.pop(identity, None)
        if answer is None:
            raise Lost(f"no answer to {method}")
        return {name: answer[name] for name in ("result", "error") if name in answer}

    def take(self, message: Json) -> None:
        """Give an answer to the request that waits for it."""
        waiting = self.waiting.get(message["id"])
        if waiting is not None:
            waiting.put(message)

    def answer(self, request: Json) -> None:
        """Answer a request of the upstream."""
        body: Json = {"error": {"code": -32601, "message": "Method not found"}}
        self.send({"id": request["id"], **({"result": {}} if request["method"] == "ping" else body)})

    def _read(self) -> None:
        for line in self.lines():
            try:
                message = json.loads(line)
                if "id" in message and "method" in message:
                    self.answer(message)
                elif "id" in message:
                    self.take(message)
            except (ValueError, TypeError, RecursionError, Lost):
                continue
        for waiting in list(self.waiting.values()):
            waiting.put(None)


class SmallStdioUpstream(StreamUpstream):
    """A child process."""

    def __init__(self, entry: Json) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [entry["command"], *entry.get("args", [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **entry.get("env", {})},
            start_new_session=True,
        )
        super().__init__()

    def send(self, message: Json) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
                self._process.stdin.flush()
        except OSError as problem:
            raise Lost("the server is gone") from problem

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def lines(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        return iter(self._process.stdout)


class SmallHttpUpstream(SmallUpstream):
    """A server behind a URL, over Streamable HTTP."""

    def __init__(self, entry: Json) -> None:
        self._url = entry["url"]
        self._headers = {
            **entry.get("headers", {}),
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        self._ids = itertools.count(1)
        self.request("initialize", _OPENING)
        self._headers["MCP-Protocol-Version"] = VERSION
        self._post({"method": "notifications/initialized"})

    def request(self, method: str, params: Json) -> Json:
        identity = next(self._ids)
        text = self._post({"id": identity, "method": method, "params": params})
        lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        for candidate in lines or [text]:
            try:
                message = json.loads(candidate)
            except ValueError:
                continue
            if isinstance(message, dict) and "method" not in message and self.fits(message, identity):
                return {name: message[name] for name in ("result", "error") if name in message}
        raise Lost(f"no answer to {method}")

    def fits(self, answer: Json, identity: int) -> bool:
        """Whether the answer is that of the request with this id."""
        return answer.get("id") == identity

    def _post(self, message: Json) -> str:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        request = urllib.request.Request(self._url, body, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                session = response.headers.get("Mcp-Session-Id")
                if session:
                    self._headers["Mcp-Session-Id"] = session
                return str(response.read().decode(errors="replace"))
        except (OSError, ValueError) as problem:
            raise Lost(f"the server cannot be reached: {problem}") from problem


class SmallSseUpstream(StreamUpstream):
    """A server behind a URL, over HTTP+SSE."""

    def __init__(self, entry: Json) -> None:
        self._headers = entry.get("headers", {})
        request = urllib.request.Request(
            entry["url"], headers={**self._headers, "Accept": "text/event-stream"}
        )
        self._stream = urllib.request.urlopen(request, timeout=PATIENCE)
        first = next(self.lines(), b"").decode()
        if not first:
            raise Lost("the server announces no endpoint")
        self._endpoint = urllib.parse.urljoin(entry["url"], first)
        super().__init__()

    def send(self, message: Json) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            urllib.request.urlopen(
                urllib.request.Request(self._endpoint, body, headers), timeout=PATIENCE
            ).close()
        except (OSError, ValueError) as problem:
            raise Lost(f"the server cannot be reached: {problem}") from problem

    def lines(self) -> Iterator[bytes]:
        data = []
        with contextlib.suppress(OSError, ValueError):
            for line in self._stream:
                if line.startswith(b"data:"):
                    data.append(line[5:].strip())
                elif not line.strip() and data:
                    yield b"\n".join(data)
                    data = []

    def close(self) -> None:
        self._stream.close()
