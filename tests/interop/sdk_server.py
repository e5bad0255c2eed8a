"""A server of the official SDK behind a URL, which it prints: `python sdk_server.py [--sse | --json] [--stateless] [--legacy]`.

The SDK serves both eras at one address. With `--legacy`, the server refuses the modern era, as an older server does.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MODERN = "2026-07-28"

server = MCPServer("sdk", log_level="ERROR")


@server.tool()
def greet(name: str) -> str:
    """Say hello."""
    return f"Grüße, {name}"


@server.tool()
async def count(to: int, context: Context) -> str:
    """Report progress, then the end."""
    for reached in range(1, to + 1):
        await context.report_progress(reached, to)
    return f"counted to {to}"


@server.tool()
async def wait(seconds: float) -> str:
    """Answer late."""
    await asyncio.sleep(seconds)
    return "waited"


@server.tool()
def fail() -> str:
    """Fail on purpose."""
    raise ValueError("on purpose")


class Legacy:
    """Refuses requests of the modern era."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and Headers(scope=scope).get("MCP-Protocol-Version") == MODERN:
            refusal = PlainTextResponse("Bad Request: unsupported protocol version", 400)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def main(*options: str) -> None:
    """Serve until terminated."""
    app: ASGIApp
    if "--sse" in options:
        app, path = server.sse_app(), "/sse"
    else:
        app = server.streamable_http_app(
            json_response="--json" in options, stateless_http="--stateless" in options
        )
        path = "/mcp"
    if "--legacy" in options:
        app = Legacy(app)
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", flush=True)  # noqa: T201  # the test reads it
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
