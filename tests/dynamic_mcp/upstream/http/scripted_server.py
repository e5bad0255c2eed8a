"""A small HTTP server in the event loop of the test. The test's handler answers the one request of each connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.dynamic_mcp.helpers import WITHIN, eventually

EVENTS = "text/event-stream"


class Request:
    """One request, and methods to answer it in parts."""

    def __init__(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines if line)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.body = body
        self._reader = reader
        self._writer = writer

    @property
    def message(self) -> dict[str, Any]:
        """The JSON object in the body; empty without one."""
        value = json.loads(self.body or b"{}")
        assert isinstance(value, dict)
        return value

    @property
    def rpc(self) -> str | None:
        """The method of the message."""
        return self.message.get("method")

    @property
    def id(self) -> int:
        """The id of the message, which is a request."""
        value = self.message["id"]
        assert isinstance(value, int)
        return value

    def begin(self, status: int = 200, kind: str = EVENTS, **headers: str) -> None:
        """Send the head of a response that ends with its connection; "_" in names stands for "-"."""
        named = {"Content-Type": kind, "Connection": "close", **headers}
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items()]
        self.write(f"HTTP/1.1 {status} Said\r\n{''.join(lines)}\r\n".encode())

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        self._writer.write(data)

    def event(self, message: dict[str, Any] | bytes, id: str | None = None) -> None:
        """Send one event."""
        data = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.write((f"id: {id}\n" if id is not None else "").encode() + b"data: " + data + b"\n\n")

    def answer(self, status: int = 200, body: object = b"", **headers: str) -> None:
        """Send a whole response: bytes, or a value as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/plain" if isinstance(body, bytes) else "application/json"
        self.begin(status, **{"kind": kind, "Content_Length": str(len(data)), **headers})
        self.write(data)

    def result(self, value: object, **headers: str) -> None:
        """Send the result of the request as JSON."""
        self.answer(200, {"jsonrpc": "2.0", "id": self.id, "result": value}, **headers)

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(ConnectionError):
            async with asyncio.timeout(WITHIN):
                while await self._reader.read(1 << 16):
                    pass


Handler = Callable[[Request], Awaitable[None]]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """The address of a running server, and the requests that arrived."""

    def __init__(self, server: asyncio.Server, accept: Accept) -> None:
        self._server, self._accept = server, accept
        self._port = server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.origin}/mcp"
        self.requests: list[Request] = []

    def close(self) -> None:
        """Refuse further connections."""
        self._server.close()

    async def listen_again(self) -> None:
        """Accept connections at the same address after ``close``."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    def of(self, rpc: str) -> list[Request]:
        """The requests that carried this message."""
        return [request for request in self.requests if request.rpc == rpc]

    async def arrived(self, rpc: str, count: int = 1) -> list[Request]:
        """Wait for this many requests with this message; the requests."""
        await eventually(lambda: len(self.of(rpc)) >= count, f"{count} times {rpc}")
        return self.of(rpc)


@asynccontextmanager
async def site(handler: Handler) -> AsyncIterator[Site]:
    """A running server. ``handler`` answers each request, and its end closes the connection."""
    handling: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            request = Request(head, await reader.readexactly(length), reader, writer)
            found.requests.append(request)
            await handler(request)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client closed the connection, or the test is over
        finally:
            writer.close()
            handling.discard(task)

    found = Site(await asyncio.start_server(serve, "127.0.0.1", 0), serve)
    try:
        yield found
    finally:
        found.close()
        for task in list(handling):
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
