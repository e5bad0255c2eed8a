"""Routes what the client sends, in the era that each request is in.

Every request is answered exactly once, under the id it came with, and every request the proxy can answer by itself is answered
before anything else happens; a notification is never answered. Calls run concurrently, one task each, and a client's
``notifications/cancelled`` ends the call it names without an answer (MCP basic/utilities/cancellation).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

from dynamic_mcp import __version__
from dynamic_mcp.errors import UpstreamError, UpstreamRefused
from dynamic_mcp.face import tools
from dynamic_mcp.face.tools import BadArguments, Toolbox
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import Malformed, Message

_INFO = {"name": "dynamic-mcp", "version": __version__}
_CAPABILITIES: dict[str, object] = {"tools": {}}

#: Added to every modern result that does not say it itself (MCP 2026-07-28, basic, ResultType; caching).
_COMPLETE = {"resultType": b'"complete"'}
_UNCACHED = {**_COMPLETE, "ttlMs": b"0", "cacheScope": b'"private"'}


class _CallParams(msgspec.Struct):
    name: str
    arguments: Raw = Raw(b"")
    meta: Raw = msgspec.field(name="_meta", default=Raw(b""))


class _InitializeParams(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")


class _CancelledParams(msgspec.Struct):
    request: Raw = msgspec.field(name="requestId", default=Raw(b""))


class Face:
    """The MCP server that the client talks to; ``send`` writes one line to it."""

    def __init__(self, toolbox: Toolbox, send: Callable[[bytes], None]) -> None:
        self._toolbox = toolbox
        self._send = send
        self._calls: dict[object, asyncio.Task[None]] = {}
        self._refused_oversized = False

    def receive(self, line: bytes) -> None:
        """Take one line from the client."""
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            self._send(jsonrpc.error(problem.id, jsonrpc.error_object(problem.code, problem.what)))
            return
        if message.method is None:
            log.debug("an answer from the client to a request that was never sent was dropped")
        elif message.id:
            self._on_request(message)
        elif message.method == "notifications/cancelled":
            self._on_cancelled(message.params)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Answer for a message that was too large to keep, under its id where that was seen, once."""
        id = jsonrpc.id_at(edge, last)
        if not self._refused_oversized and (id is not None or last):
            text = f"The message is larger than {jsonrpc.MOST_MESSAGE >> 20} MiB."
            self._send(jsonrpc.error(id or jsonrpc.NULL, jsonrpc.error_object(jsonrpc.INVALID_REQUEST, text)))
        self._refused_oversized = not last and (self._refused_oversized or id is not None)

    async def close(self) -> None:
        """Abandon the calls in flight; their upstreams are told."""
        running = list(self._calls.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _on_request(self, message: Message) -> None:
        stamp = era.stamp_of(message.params) if message.params else None
        if stamp is None:
            self._on_legacy(message)
        elif stamp.version != era.MODERN:
            data = {"supported": [era.MODERN], "requested": stamp.version}
            self._refuse(message, era.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
        elif not stamp.has_capabilities:
            self._refuse(
                message, jsonrpc.INVALID_PARAMS, f'_meta must hold an object "{era.CLIENT_CAPABILITIES}"'
            )
        else:
            self._on_modern(message)

    def _on_legacy(self, message: Message) -> None:
        match message.method:
            case "tools/call":
                self._start_call(message, modern=False)
            case "ping":
                self._answer(message, b"{}")
            case "tools/list":
                self._answer(message, b'{"tools":%b}' % self._toolbox.surface)
            case "initialize":
                self._answer(message, _initialize_result(message.params))
            case _:
                self._refuse(message, jsonrpc.METHOD_NOT_FOUND, f"Method not found: {message.method}")

    def _on_modern(self, message: Message) -> None:
        match message.method:
            case "tools/call":
                self._start_call(message, modern=True)
            case "tools/list":
                self._answer(message, _modern(b'{"tools":%b}' % self._toolbox.surface, **_UNCACHED))
            case "server/discover":
                result = {"supportedVersions": [era.MODERN], "capabilities": _CAPABILITIES}
                self._answer(message, _modern(msgspec.json.encode(result), **_UNCACHED))
            case _:
                self._refuse(message, jsonrpc.METHOD_NOT_FOUND, f"Method not found: {message.method}")

    def _start_call(self, message: Message, *, modern: bool) -> None:
        try:
            params = msgspec.json.decode(message.params or b"{}", type=_CallParams)
        except msgspec.ValidationError as error:
            self._refuse(message, jsonrpc.INVALID_PARAMS, f"tools/call: {error}")
            return
        key = _id_key(message.id)
        task = asyncio.get_running_loop().create_task(self._call(message, params, modern))
        self._calls[key] = task
        task.add_done_callback(lambda done: self._forget(key, done))

    def _forget(self, key: object, task: asyncio.Task[None]) -> None:
        if self._calls.get(key) is task:
            del self._calls[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a call ended with an internal error: %s", type(error).__name__, exc_info=error)

    async def _call(self, message: Message, params: _CallParams, modern: bool) -> None:
        try:
            result = await self._toolbox.run(params.name, params.arguments, params.meta)
        except BadArguments as problem:
            self._refuse(message, jsonrpc.INVALID_PARAMS, str(problem))
            return
        except UpstreamRefused as refusal:
            self._send(jsonrpc.error(bytes(message.id), refusal.error))
            return
        except UpstreamError as error:
            result = tools.explain(error)
        except Exception:
            self._refuse(message, jsonrpc.INTERNAL_ERROR, "Internal error of the proxy; its stderr says more")
            raise
        self._answer(message, _modern(result, **_COMPLETE) if modern else _legacy(result))

    def _on_cancelled(self, params: Raw) -> None:
        try:
            request = msgspec.json.decode(params or b"{}", type=_CancelledParams).request
        except msgspec.DecodeError:
            return
        if request and (task := self._calls.get(_id_key(request))) is not None:
            task.cancel()

    def _answer(self, message: Message, result: bytes) -> None:
        self._send(jsonrpc.result(bytes(message.id), result))

    def _refuse(self, message: Message, code: int, text: str, data: object = None) -> None:
        self._send(jsonrpc.error(bytes(message.id), jsonrpc.error_object(code, text, data)))


def _id_key(raw: Raw) -> object:
    """An id as a key that tells ``1`` from ``"1"`` and knows ``"\\u0061"`` from ``"a"`` to be the same."""
    try:
        value = msgspec.json.decode(raw, type=str | int | float)
    except msgspec.DecodeError:
        # 1e400 is an id that no Python number holds; a cancellation may name anything at all.
        return bytes(raw)
    return type(value), value


def _initialize_result(params: Raw) -> bytes:
    """Echo a version that is known here, else offer the newest (MCP lifecycle, "Version Negotiation")."""
    try:
        requested = msgspec.json.decode(params or b"{}", type=_InitializeParams).version
    except msgspec.DecodeError:
        requested = ""
    version = requested if requested in era.LEGACY_VERSIONS else era.LATEST_LEGACY
    return msgspec.json.encode(
        {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _INFO}
    )


def _modern(result: bytes, **members: bytes) -> bytes:
    """A result as a modern client expects it; what an upstream said itself stays."""
    own_info = msgspec.json.encode({era.SERVER_INFO: _INFO})
    return era.with_members(result, **members, _meta=own_info)


def _legacy(result: bytes) -> bytes:
    """A result as a legacy client can use it: a question that it could not answer becomes a failure it can read."""
    if b'"input_required"' in result:
        members = msgspec.json.decode(result, type=dict[str, Raw])
        if bytes(members.get("resultType", Raw(b""))) == b'"input_required"':
            return tools.failure("The tool asks for further input, which this client cannot be asked for.")
    return result
