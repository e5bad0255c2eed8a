"""Connections to a proxy over HTTP on which a test writes the bytes itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tests.dynamic_mcp.extras.serving.door import HEADERS, Http

#: Seconds in which a connection has to end.
SOON = 10.0


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def response(self) -> tuple[int, bytes]:
        """The status and the body of the next response, which has a length."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SOON)
        fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        body = await asyncio.wait_for(self.reader.readexactly(int(fields["content-length"])), SOON)
        return int(head.split()[1]), body

    async def rest(self) -> bytes:
        """What comes until the end of the connection, which may be a reset."""
        found = b""
        try:
            async with asyncio.timeout(SOON):
                while data := await self.reader.read(1 << 20):
                    found += data
        except ConnectionError:
            pass
        return found


@asynccontextmanager
async def raw(http: Http, data: bytes = b"") -> AsyncIterator[Raw]:
    """A connection on which these bytes are sent."""
    host, port = address(http)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def raws(http: Http, count: int, data: bytes) -> AsyncIterator[list[Raw]]:
    """Several of them, one after the other."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(raw(http, data)) for _ in range(count)]


def address(http: Http) -> tuple[str, int]:
    host, _, port = http.url.removeprefix("http://").removesuffix("/mcp").partition(":")
    return host, int(port)


def head(
    http: Http, headers: Mapping[str, str] | None = None, target: str = "/mcp", method: str = "POST"
) -> bytes:
    """The head of a request. A header with an empty value is left out."""
    fields = {"Host": "{}:{}".format(*address(http)), **HEADERS, **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def post(
    http: Http, message: object, headers: Mapping[str, str] | None = None, target: str = "/mcp"
) -> bytes:
    """A whole request."""
    body = json.dumps(message).encode()
    return head(http, {"Content-Length": str(len(body)), **(headers or {})}, target) + body
