"""Lets a stdio proxy listen: one process of the proxy, behind Streamable HTTP or HTTP+SSE, for one client.

    python -m conformance.gateway --port 8000 -- dynamic-mcp config.json

The proxy starts at once. Lines pass unchanged in both directions. SIGTERM and SIGINT go to the proxy, and the gateway ends with its status;
the stdin of the gateway has no meaning. In the modern era, a response that the client closes cancels its request.

Limits: stdio does not tell to which request a message of the proxy belongs. A progress token and a subscription tell; other messages go to
the GET stream of the session, else to the newest response. Streams cannot be resumed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from conformance.workbench.deep_json import decode
from mock_servers.answers import LEGACY_VERSIONS, SUBSCRIPTION_KEY, VERSION_KEY, meta_of
from mock_servers.remote.headers import is_local, mismatch
from mock_servers.remote.writers import MODERN_STATUS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request

Message = dict[str, Any]

SESSION = "Mcp-Session-Id"
VERSION = "MCP-Protocol-Version"
#: the revision that has batches
BATCHES = "2025-03-26"
_STREAM = "text/event-stream"
_MAX_LINE = 64 << 20


class Conversation:
    """A request and the lines that belong to it, up to its answer."""

    def __init__(self, message: Message) -> None:
        self.id = json.dumps(message.get("id"))
        self.token = json.dumps(meta_of(message).get("progressToken"))
        self.modern = VERSION_KEY in meta_of(message)
        self.lines: asyncio.Queue[tuple[bytes, Message]] = asyncio.Queue()


class Gateway:
    """The proxy's process and its one client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._session: str | None = None
        #: the revision of the session
        self._version: object = None
        #: the answers to batches
        self._batches: asyncio.Queue[bytes] = asyncio.Queue()
        self._open: list[Conversation] = []
        #: what belongs to no request, until a stream takes it
        self._own: asyncio.Queue[tuple[bytes, Message]] = asyncio.Queue()

    # From the proxy

    async def read(self) -> None:
        """Deliver the lines of the proxy until its output ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = envelope(line)
            if line.startswith(b"["):
                self._batches.put_nowait(line.rstrip(b"\n"))
                continue
            if not message:  # such as the text of --help
                sys.stdout.buffer.write(line)
                continue
            self._place_of(message).put_nowait((line.rstrip(b"\n"), message))

    def _place_of(self, message: Message) -> asyncio.Queue[tuple[bytes, Message]]:
        if "method" not in message:
            id = json.dumps(message.get("id"))
            return next((one.lines for one in self._open if one.id == id), self._own)
        params = message.get("params")
        token = params.get("progressToken") if isinstance(params, dict) else None
        subscription = json.dumps(meta_of(message).get(SUBSCRIPTION_KEY))
        for one in self._open:
            if one.id == subscription or (token is not None and one.token == json.dumps(token)):
                return one.lines
        if self._session is not None or not self._open:
            return self._own
        return self._open[-1].lines

    # Streamable HTTP

    async def serve(self, request: Request) -> Response:
        """Answer one HTTP request at the endpoint."""
        if not is_local(request.headers.get):
            return Response(status_code=403)
        session = request.headers.get(SESSION)
        if request.method == "POST":
            return await self._post(request, session)
        if not has_known_version(request):
            return Response(status_code=400)
        if session is None or session != self._session:
            return Response(status_code=404 if session else 405)
        if request.method == "DELETE":
            self._session = None
            return Response(status_code=200)
        return self.own_stream()

    async def _post(self, request: Request, session: str | None) -> Response:
        body = await request.body()
        message = envelope(body)
        if not message:
            return await self._post_other(body, session)
        modern = VERSION_KEY in meta_of(message)
        if not modern and not has_known_version(request):
            return Response(status_code=400)
        if modern and "method" in message and (wrong := mismatch(request.headers.get, message, [])):
            return JSONResponse({"jsonrpc": "2.0", "id": message.get("id"), "error": wrong.error}, 400)
        if not modern and message.get("method") == "initialize" and session is None:
            self._session = session = uuid.uuid4().hex
        if not modern and session is not None and session != self._session:
            return Response(status_code=404)
        if "method" not in message or "id" not in message:
            await self.send(body)
            return Response(status_code=202)
        headers = {} if session is None else {SESSION: session}
        return await self._converse(request, body, Conversation(message), headers)

    async def _post_other(self, body: bytes, session: str | None) -> Response:
        """Pass a batch on, in a session of the revision that has them; refuse anything else that is no message."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return _refusal(-32700, "the body is not JSON")
        if not (isinstance(value, list) and value and session and self._version == BATCHES):
            return _refusal(-32600, "the body is not one JSON-RPC message")
        if session != self._session:
            return Response(status_code=404)
        if not any(isinstance(one, dict) and "id" in one and "method" in one for one in value):
            await self.send(body)
            return Response(status_code=202)
        await self.send(body)
        return Response(await self._batches.get(), 200, {SESSION: session}, "application/json")

    async def _converse(
        self, request: Request, body: bytes, conversation: Conversation, headers: dict[str, str]
    ) -> Response:
        self._open.append(conversation)
        await self.send(body)
        first = asyncio.create_task(conversation.lines.get())
        gone = asyncio.create_task(_until_disconnected(request))
        await asyncio.wait({first, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not first.done():
            first.cancel()
            await self._abandon(conversation)
            return Response(status_code=499)
        line, message = first.result()
        if "method" not in message:
            result = message.get("result")
            if isinstance(result, dict) and "protocolVersion" in result:
                self._version = result["protocolVersion"]
            self._open.remove(conversation)
            code = message.get("error", {}).get("code")
            status = MODERN_STATUS.get(code, 200) if conversation.modern else 200
            return Response(line, status, {**headers, "Content-Type": "application/json"})
        return StreamingResponse(self._events(conversation, line), headers=headers, media_type=_STREAM)

    async def _events(self, conversation: Conversation, line: bytes) -> AsyncIterator[bytes]:
        try:
            while True:
                yield _event(line)
                line, message = await conversation.lines.get()
                if "method" not in message:
                    self._open.remove(conversation)
                    yield _event(line)
                    return
        except (asyncio.CancelledError, GeneratorExit):
            if conversation in self._open:
                await asyncio.shield(self._abandon(conversation))
            raise

    async def _abandon(self, conversation: Conversation) -> None:
        """The client has closed the response: in the modern era, that cancels the request."""
        if conversation.modern:
            self._open.remove(conversation)
            params = {"requestId": json.loads(conversation.id)}
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
            await self.send(json.dumps(cancelled).encode())

    async def send(self, body: bytes) -> None:
        """Write one message to the proxy."""
        assert self._process.stdin is not None
        self._process.stdin.write(body.replace(b"\n", b" ") + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()

    def own_stream(self, first: bytes = b"") -> Response:
        """A stream of everything that belongs to no open response."""

        async def events() -> AsyncIterator[bytes]:
            yield first or b": open\n\n"
            while True:
                line, _ = await self._own.get()
                yield _event(line)

        return StreamingResponse(events(), media_type=_STREAM)

    # HTTP+SSE

    async def serve_stream(self, request: Request) -> Response:
        """Answer a GET at the stream of HTTP+SSE."""
        return self.own_stream(b"event: endpoint\ndata: /messages\n\n")

    async def serve_message(self, request: Request) -> Response:
        """Answer a POST at the endpoint of HTTP+SSE."""
        await self.send(await request.body())
        return Response(status_code=202)


def has_known_version(request: Request) -> bool:
    """Whether a request of a session names a revision, or none. The proxy judges the versions of the modern era."""
    return request.headers.get(VERSION) in (None, *LEGACY_VERSIONS)


def _refusal(code: int, message: str) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}, 400)


def envelope(line: bytes) -> Message:
    """The message of a line; of one that is nested too deeply its id and method; empty if the line is no object."""
    try:
        message = decode(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(line: bytes) -> bytes:
    return b"event: message\ndata: " + line + b"\n\n"


async def run(command: Sequence[str], port: int) -> int:
    """Run the proxy behind the gateway; returns its exit status, 128 and the number for a signal."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MAX_LINE
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _pass_on, process, number)
    gateway = Gateway(process)
    routes = [
        Route("/mcp", gateway.serve, methods=["DELETE", "GET", "POST"]),
        Route("/sse", gateway.serve_stream),
        Route("/messages", gateway.serve_message, methods=["POST"]),
    ]
    config = uvicorn.Config(Starlette(routes=routes), port=port, log_config=None, lifespan="off")
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    await gateway.read()
    code = await process.wait()
    server.should_exit = server.force_exit = True
    await asyncio.wait({serving}, timeout=1.0)
    return code if code >= 0 else 128 - code


def _pass_on(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


class _Server(uvicorn.Server):
    """Does not take over the signals of the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or these words of one."""
    parser = argparse.ArgumentParser(prog="python -m conformance.gateway")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("command", nargs="+", help="the command line of the proxy, after --")
    options = parser.parse_args(words)
    code = asyncio.run(run(options.command, options.port))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
