"""A small MCP client for a proxy that listens: Streamable HTTP of the handshake era. It needs only the standard library."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

Message = dict[str, Any]


def free_port() -> int:
    """A port of 127.0.0.1 that no program uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int, within: float = 20.0) -> bool:
    """Whether a program accepts connections at the port within `within` seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


class Session:
    """One session of one client. Each request has a connection of its own, so a thread can make one beside another."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._ids = iter(range(1, 10_000))
        self.id: str | None = None
        self.version: str | None = None

    def post(self, message: Message, within: float = 10.0) -> tuple[int, list[Message]]:
        """Send one message. Return the status and the messages of the answer; status 0 if none comes in time."""
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if self.id:
            headers["Mcp-Session-Id"] = self.id
        if self.version:
            headers["MCP-Protocol-Version"] = self.version
        connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=within)
        try:
            connection.request("POST", self._parts.path, json.dumps(message), headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, []
        finally:
            connection.close()
        self.id = self.id or response.headers.get("Mcp-Session-Id")
        if response.headers.get_content_type() == "text/event-stream":
            lines = [line.partition(":")[2] for line in text.splitlines() if line.startswith("data:")]
            return response.status, [json.loads(line) for line in lines if line.strip()]
        with suppress(ValueError):
            return response.status, [json.loads(text)]
        return response.status, []

    def request(self, method: str, params: Message | None = None, within: float = 10.0) -> Message | None:
        """Send a request and return its answer; None if there is none."""
        id = next(self._ids)
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}
        answers = self.post(message, within)[1]
        return next((answer for answer in answers if answer.get("id") in (id, None)), None)

    def notify(self, method: str, params: Message | None = None) -> int:
        """Send a notification and return the status."""
        return self.post({"jsonrpc": "2.0", "method": method, "params": params or {}})[0]

    def call(self, tool: str, arguments: Message | None = None, within: float = 10.0) -> Message | None:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, within)

    def handshake(self, version: str = "2025-06-18") -> Message:
        """Do the handshake; SystemExit if the proxy does not answer it."""
        client = {"name": "reproduction", "version": "1"}
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
        answer = self.request("initialize", params, 30)
        if answer is None or "result" not in answer:
            raise SystemExit(f"cannot tell: initialize was answered with {answer}")
        result: Message = answer["result"]
        self.version = result["protocolVersion"]
        self.notify("notifications/initialized")
        return result
