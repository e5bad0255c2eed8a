"""A proxy in this process that listens on loopback, over fake servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from dynamic_mcp.config.model import Server
from dynamic_mcp.extras.serving.door import HttpDoor
from dynamic_mcp.extras.serving.gate import Gate
from dynamic_mcp.extras.serving.limits import LIMITS, ServingLimits
from dynamic_mcp.protocol.era import MODERN
from tests.dynamic_mcp.fakes import REQUEST_META
from tests.dynamic_mcp.frontend.test_clients import Proxy, running

SESSION = "Mcp-Session-Id"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
LOCAL = ("127.0.0.1", 0)


class Http:
    """A client of the proxy over HTTP."""

    def __init__(self, url: str, proxy: Proxy, door: HttpDoor) -> None:
        self.url, self.proxy, self.door = url, proxy, door
        self.client = httpx.AsyncClient(timeout=20, trust_env=False)

    async def post(
        self, message: object, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.client.post(self.url, content=body, headers={**HEADERS, **(headers or {})}, **more)

    @asynccontextmanager
    async def stream(
        self, method: str, message: object = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Events]:
        body = None if message is None else json.dumps(message).encode()
        fields = {**HEADERS, **(headers or {})}
        async with self.client.stream(method, self.url, content=body, headers=fields) as response:
            yield Events(response)

    async def session(
        self, version: str = "2025-11-25", capabilities: Mapping[str, object] | None = None
    ) -> dict[str, str]:
        """The headers of a new session, after the handshake."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        hello = await self.post(request("initialize", params, id=0))
        assert hello.status_code == 200, hello.text
        headers = {SESSION: hello.headers[SESSION], "MCP-Protocol-Version": version}
        assert (await self.post(notification("notifications/initialized"), headers)).status_code == 202
        return headers


class Events:
    """A response with events, or with JSON."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        #: the id of the last event
        self.last_id = ""
        self._lines = response.aiter_lines()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self.next()

    async def next(self) -> dict[str, Any]:
        """The next message. Raises StopAsyncIteration at the end."""
        while True:
            line = await anext(self._lines)
            if line.startswith("id: "):
                self.last_id = line[4:]
            if line.startswith("data: {"):
                found = json.loads(line[6:])
                assert isinstance(found, dict)
                return found


def request(method: str, params: Mapping[str, object] | None = None, id: object = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


def notification(method: str, params: Mapping[str, object] | None = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params or {}}


def call(group: str = "a", id: object = 1, meta: Mapping[str, object] | None = None) -> dict[str, object]:
    """A call of the tool of a fake server."""
    arguments = {"group": group, "name": "act", "args": {}}
    params = {"name": "call_dynamic_tool", "arguments": arguments, "_meta": meta or {}}
    return request("tools/call", params, id)


def modern(
    method: str, params: Mapping[str, object] | None = None, id: object = 1
) -> tuple[dict[str, object], dict[str, str]]:
    """A modern request, and its headers."""
    params = params or {}
    meta = params.get("_meta", {})
    assert isinstance(meta, dict)
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if (name := params.get("name", params.get("uri"))) is not None:
        headers["Mcp-Name"] = str(name)
    return request(method, {**params, "_meta": {**REQUEST_META, **meta}}, id), headers


def modern_call(group: str = "a", id: object = 1) -> tuple[dict[str, object], dict[str, str]]:
    params = {"name": "call_dynamic_tool", "arguments": {"group": group, "name": "act", "args": {}}}
    return modern("tools/call", params, id)


@asynccontextmanager
async def serving(
    *servers: Server, limits: ServingLimits = LIMITS, token: str | None = None, linger: float = 60.0
) -> AsyncIterator[Http]:
    """Serve until the end of the context."""
    found: list[tuple[str, int]] = []
    async with running(*servers, linger=linger) as proxy:
        gate = Gate("127.0.0.1", [], token)
        door = HttpDoor(
            Path("/config.json"), LOCAL, gate, linger, lambda *address: found.append(address), limits
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(door.run, proxy.clients)
            http = Http(f"http://127.0.0.1:{found[0][1]}/mcp", proxy, door)
            try:
                yield http
            finally:
                await http.client.aclose()
                await door.close()
                tasks.cancel_scope.cancel()
