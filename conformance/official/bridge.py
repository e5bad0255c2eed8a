"""Serves a stdio proxy at a URL: Streamable HTTP of both eras.

A legacy session has a proxy of its own, from `initialize` to DELETE; modern requests, which have no sessions, share one. Messages pass
unchanged, with one exception. The suite calls its tools by their own names. So the bridge turns such a call into one of
`call_dynamic_tool`, as an agent would make it.

Limits: `lines` decides which stream gets a message that the proxy begins. Clients cannot resume streams. The bridge checks HTTP headers and
sets statuses itself, by the rules of the mocks, so these prove nothing about a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from conformance.model.profile_file import DEFAULT_TOOLS
from conformance.official.lines import Message, ProxyProcess, running
from mock_servers.answers import MODERN_VERSION, VERSION_KEY, Answers, Refused, meta_of
from mock_servers.remote.headers import is_local, mismatch
from mock_servers.remote.writers import MODERN_STATUS
from mock_servers.script import Script

SESSION = "Mcp-Session-Id"
_STREAM = "text/event-stream"
_RULES = Answers(Script(era="both"))


@dataclass
class Bridge:
    """One URL; `group` is the group of the tools that the suite calls."""

    command: Sequence[str]
    group: str
    _proxies: dict[str | None, tuple[ProxyProcess, contextlib.AsyncExitStack]] = field(default_factory=dict)

    async def close(self) -> None:
        """End all proxies."""
        for session in list(self._proxies):
            await self._end(session)

    async def serve(self, request: Request) -> Response:
        """Answer one HTTP request."""
        if not is_local(request.headers.get):
            return Response(status_code=403)
        session = request.headers.get(SESSION)
        if request.method == "POST":
            return await self._post(request, session)
        if session is None or session not in self._proxies:
            return Response(status_code=404 if session else 405)
        if request.method == "DELETE":
            await self._end(session)
            return Response(status_code=200)
        return StreamingResponse(_events_of(self._proxies[session][0].rest), media_type=_STREAM)

    async def _post(self, request: Request, session: str | None) -> Response:
        message: Message = await request.json()
        modern = request.headers.get("MCP-Protocol-Version") == MODERN_VERSION or VERSION_KEY in meta_of(
            message
        )
        if modern and "method" in message and (wrong := _refusal(request, message)):
            return _json({"jsonrpc": "2.0", "id": message.get("id"), "error": wrong.error}, modern=True)
        if modern:
            session = None
        elif message.get("method") == "initialize":
            session = uuid.uuid4().hex
        elif session not in self._proxies or session is None:
            return Response(status_code=404 if session else 400)
        proxy = await self._proxy(session)
        if "method" not in message or "id" not in message:
            proxy.send(message)
            return Response(status_code=202)
        conversation = proxy.converse(self._wrapped(message))
        first = await anext(conversation, None)
        headers = {} if session is None else {SESSION: session}
        if first is None:
            return Response("the proxy has ended", status_code=502)
        if "method" not in first:
            await conversation.aclose()
            return _json(first, modern=modern, headers=headers)
        cancelled = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": message["id"]},
        }

        async def events() -> AsyncIterator[str]:
            try:
                async with contextlib.aclosing(conversation):
                    yield _event(first)
                    async for later in conversation:
                        yield _event(later)
            except asyncio.CancelledError:
                # In the modern era, closing the stream cancels the request.
                if modern:
                    proxy.send(cancelled)
                raise

        return StreamingResponse(events(), media_type=_STREAM, headers=headers)

    def _wrapped(self, message: Message) -> Message:
        params = message.get("params")
        if message["method"] != "tools/call" or not isinstance(params, dict):
            return message
        if params.get("name") in DEFAULT_TOOLS.values():
            return message
        call = {"group": self.group, "name": params.get("name"), "args": params.get("arguments", {})}
        return {**message, "params": {**params, "name": DEFAULT_TOOLS["call"], "arguments": call}}

    async def _proxy(self, session: str | None) -> ProxyProcess:
        if session not in self._proxies:
            stack = contextlib.AsyncExitStack()
            self._proxies[session] = await stack.enter_async_context(running(self.command)), stack
        return self._proxies[session][0]

    async def _end(self, session: str | None) -> None:
        _, stack = self._proxies.pop(session)
        await stack.aclose()


@contextlib.asynccontextmanager
async def serving(command: Sequence[str], group: str) -> AsyncIterator[str]:
    """Serve a bridge in this process; yields its URL."""
    bridge = Bridge(command, group)
    app = Starlette(routes=[Route("/mcp", bridge.serve, methods=["DELETE", "GET", "POST"])])
    try:
        async with listening_with(app) as url:
            yield url
    finally:
        await bridge.close()


@contextlib.asynccontextmanager
async def listening_with(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application at a free port in this process; yields the URL of its endpoint."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server, listening = _QuietServer(config), config.bind_socket()
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await task


class _QuietServer(uvicorn.Server):
    """Does not take over the signals of the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def _events_of(queue: asyncio.Queue[Message | None]) -> AsyncIterator[str]:
    while (message := await queue.get()) is not None:
        yield _event(message)


def _refusal(request: Request, message: Message) -> Refused | None:
    """The refusal of HTTP for a modern message. Over stdio, a message without an envelope would count as legacy."""
    bare = VERSION_KEY not in meta_of(message)
    wrong = _RULES.envelope_problem(message) if bare and "id" in message else None
    return wrong or mismatch(request.headers.get, message, [])


def _event(message: Message) -> str:
    return f"event: message\ndata: {json.dumps(message)}\n\n"


def _json(message: Message, *, modern: bool, headers: dict[str, str] | None = None) -> Response:
    code = message.get("error", {}).get("code")
    return JSONResponse(message, MODERN_STATUS.get(code, 200) if modern else 200, headers)
