"""A small MCP client for a proxy that serves HTTP+SSE of 2024-11-05. It needs only the standard library."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

Message = dict[str, Any]


class SseSession:
    """One open event stream. Its messages collect in `messages`; `open` becomes false when the server ends the stream."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._ids = iter(range(1, 10_000))
        self._arrived = threading.Condition()
        self.messages: list[Message] = []
        self.endpoint: str | None = None
        self.open = True
        self._stream = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=60)
        self._stream.request("GET", self._parts.path, headers={"Accept": "text/event-stream"})
        self._response = self._stream.getresponse()
        threading.Thread(target=self._read, daemon=True).start()
        with self._arrived:
            self._arrived.wait_for(lambda: self.endpoint is not None or not self.open, 10)

    def _read(self) -> None:
        event = ""
        with suppress(OSError, ValueError, http.client.HTTPException):
            for raw in self._response:
                name, _, value = raw.decode().rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                with self._arrived:
                    if name == "event":
                        event = value
                    elif name == "data" and event == "endpoint":
                        self.endpoint = value
                    elif name == "data":
                        self.messages.append(json.loads(value))
                    self._arrived.notify_all()
        with self._arrived:
            self.open = False
            self._arrived.notify_all()

    def post(self, message: Message) -> int:
        """Send one message and return the status; 0 if the server cannot be reached."""
        target = urlsplit(self.endpoint or "")
        connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=10)
        try:
            path = f"{target.path}?{target.query}" if target.query else target.path
            connection.request("POST", path, json.dumps(message), {"Content-Type": "application/json"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def request(self, method: str, params: Message | None = None, within: float = 10.0) -> Message | None:
        """Send a request and return its answer; None if none arrives within `within` seconds."""
        id = next(self._ids)

        def found() -> Message | None:
            return next((m for m in self.messages if m.get("id") == id and "method" not in m), None)

        self.post({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None or not self.open, within)
            return found()

    def call(self, tool: str, arguments: Message | None = None, within: float = 10.0) -> Message | None:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, within)

    def handshake(self, version: str = "2025-06-18") -> Message:
        """Do the handshake; SystemExit if the proxy does not answer it."""
        client = {"name": "reproduction", "version": "1"}
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
        answer = self.request("initialize", params, 30)
        if answer is None or "result" not in answer:
            raise SystemExit(f"cannot tell: initialize was answered with {answer}")
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        result: Message = answer["result"]
        return result

    def close(self) -> None:
        with suppress(OSError):
            self._response.close()
            self._stream.close()


def hub_is_ready(port: int, within: float = 30.0) -> bool:
    """Whether mcp-hub reports that its servers are connected; its port listens before that."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        with (
            suppress(OSError, ValueError),
            urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as response,
        ):
            if json.load(response)["state"] == "ready":
                return True
        time.sleep(0.1)
    return False
