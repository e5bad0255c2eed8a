"""Passes HTTP requests on to a proxy that serves by itself, and calls its tools as an agent would.

The suite calls its tools by their own names, so such a call becomes one of `call_dynamic_tool`. Everything else stays as it is: the
headers, the statuses, the streams and their ends. So what the suite finds about HTTP is about the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from conformance.errors import HarnessError
from conformance.model.profile_file import DEFAULT_TOOLS
from conformance.official.bridge import listening_with

_START_TIME = 60.0
_END_TIME = 10.0
#: of the connection, not of a message
_HOP = (b"connection", b"content-length", b"transfer-encoding", b"keep-alive")


def wrapped(message: Any, group: str) -> Any:
    """A call of a tool as a call of `call_dynamic_tool`; any other message as it is."""
    params = message.get("params") if isinstance(message, dict) else None
    if not isinstance(params, dict) or message.get("method") != "tools/call":
        return message
    if params.get("name") in DEFAULT_TOOLS.values():
        return message
    call = {"group": group, "name": params.get("name"), "args": params.get("arguments", {})}
    return {**message, "params": {**params, "name": DEFAULT_TOOLS["call"], "arguments": call}}


class Renaming:
    """An ASGI application in front of the proxy at `url`."""

    def __init__(self, url: str, group: str) -> None:
        self._url = url
        self._group = group
        # A connection of its own for each request, so that its end reaches the proxy.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(timeout=None, trust_env=False, limits=limits)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request, until one side ends it."""
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        passing = asyncio.ensure_future(self._pass(scope, body, send))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((passing, gone), return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        finally:
            passing.cancel()
            gone.cancel()
            await asyncio.gather(passing, gone, return_exceptions=True)

    async def _pass(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP]
        body, headers = self._rename(body, headers)
        # Nothing of the library's own may hide what the suite left out.
        request = httpx.Request(scope["method"], self._url, headers=headers, content=body)
        for name in ("accept", "accept-encoding", "user-agent", "content-type"):
            if name not in {sent.decode() for sent, _ in headers}:
                request.headers.pop(name, None)
        response = await self._client.send(request, stream=True)
        try:
            kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    def _rename(
        self, body: bytes, headers: list[tuple[bytes, bytes]]
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The message for the proxy. A right `Mcp-Name` stays right, and a wrong or missing one stays as it is."""
        try:
            message = json.loads(body)
        except ValueError:
            return body, headers
        renamed = wrapped(message, self._group)
        if renamed is message:
            return body, headers
        old, new = str(message["params"].get("name")).encode(), renamed["params"]["name"].encode()
        fixed = [
            (name, new if name == b"mcp-name" and value == old else value)
            for name, value in headers
            if not name.startswith(b"mcp-param-")
        ]
        return json.dumps(renamed).encode(), fixed


@contextlib.asynccontextmanager
async def serving(command: Sequence[str], group: str) -> AsyncIterator[str]:
    """Start a proxy that serves over HTTP and prints its address on stderr; yields the address for the suite."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        url = await _address_in(process.stderr)
        draining = asyncio.ensure_future(process.stderr.read())
        async with _renamed(url, group) as renamed:
            yield renamed
        draining.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END_TIME):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _address_in(stderr: asyncio.StreamReader) -> str:
    printed = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIME):
            async for line in stderr:
                if (at := line.find(b"http://")) >= 0:
                    return line[at:].split()[0].decode()
                printed += line
    raise HarnessError(f"the proxy printed no address on its stderr: {printed.decode(errors='replace')!r}")


@contextlib.asynccontextmanager
async def _renamed(url: str, group: str) -> AsyncIterator[str]:
    app = Renaming(url, group)
    try:
        async with listening_with(app) as renamed:
            yield renamed
    finally:
        await app.close()
