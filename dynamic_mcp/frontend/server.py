"""Routes what the client sends, in the era that each request is in.

Every request is answered exactly once, under the id it came with, and every request the proxy can answer by itself is answered
before anything else happens; a notification is never answered. What needs an upstream runs concurrently, one task each, and a
client's ``notifications/cancelled`` ends the request it names without an answer (MCP basic/utilities/cancellation).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.extras.audit import trail
from dynamic_mcp.extras.tracing.base import Tracing
from dynamic_mcp.frontend import bridge, tool_surface
from dynamic_mcp.frontend.batch import Batch, elements_of
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.exchange import Exchange, questions_of, responses, state_of_ours
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession, answerable
from dynamic_mcp.frontend.subscriptions import Subscriptions
from dynamic_mcp.frontend.tools import Toolbox, explain
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, Kind
from dynamic_mcp.log import report_bug
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Malformed,
    Message,
    Refusal,
)

#: The most rounds of questions that one call may take.
MAX_ROUNDS = 20

Handler = Callable[[Call], Coroutine[Any, Any, bytes]]
#: Handlers by method, and the kinds of things one of which has to be in use for it.
Handlers = dict[str, tuple[Handler, tuple[Kind, ...]]]


class _CancelledParams(msgspec.Struct):
    request: Raw = msgspec.field(name="requestId", default=Raw(b""))


class _LevelParams(msgspec.Struct):
    level: str


class Frontend:
    """The MCP server that the client talks to; ``send`` writes one line to it."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        session: ClientSession,
        relay: Relay,
        send: Callable[[bytes], None],
        tracing: Tracing | None = None,
    ) -> None:
        toolbox, catalog = Toolbox(groups), Catalog(groups)
        subscriptions = Subscriptions(session, catalog, relay.listeners)
        self._toolbox = toolbox
        self._catalog = catalog
        self._session = session
        self._subscriptions = subscriptions
        self._relay = relay
        self._send = send
        self._tracing = tracing
        self._running: dict[object, tuple[asyncio.Task[None], Call]] = {}
        self._refused_oversized = False
        # What needs an upstream.
        handlers: Handlers = {
            "tools/call": (toolbox.run, ()),
            "resources/list": (lambda call: catalog.list_all(RESOURCES, call), (RESOURCES,)),
            "resources/templates/list": (lambda call: catalog.list_all(TEMPLATES, call), (RESOURCES,)),
            "resources/read": (catalog.read, (RESOURCES,)),
            "prompts/list": (lambda call: catalog.list_all(PROMPTS, call), (PROMPTS,)),
            "prompts/get": (catalog.get_prompt, (PROMPTS,)),
            "completion/complete": (catalog.complete, (RESOURCES, PROMPTS)),
        }
        # The same with what only a handshake revision has.
        legacy_handlers: Handlers = {
            **handlers,
            "logging/setLevel": (self._set_level, ()),
            "resources/subscribe": (subscriptions.subscribe, (RESOURCES,)),
            "resources/unsubscribe": (subscriptions.unsubscribe, (RESOURCES,)),
        }
        self._handlers = {name: (self._elicit_by_result(do), kinds) for name, (do, kinds) in handlers.items()}
        self._legacy_handlers = {
            name: (self._elicit_by_request(do), kinds) for name, (do, kinds) in legacy_handlers.items()
        }

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The groups change inside: the client is told afterwards which of its lists are others now."""
        before = self._visible()
        yield
        for method, shown in self._visible().items():
            if shown != before[method]:
                self._relay.announce(method)

    def _visible(self) -> dict[str, object]:
        """What the lists that a client can be told about are made of."""
        return {
            "notifications/tools/list_changed": self._toolbox.surface,
            "notifications/resources/list_changed": self._catalog.owners(RESOURCES),
            "notifications/prompts/list_changed": self._catalog.owners(PROMPTS),
        }

    # From the client

    def receive(self, line: bytes) -> None:
        """Take one line from the client."""
        if line.lstrip()[:1] == b"[":
            self._receive_batch(line)
        else:
            self._receive_one(line)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Answer for a message that was too large to keep, under its id where that was seen, once."""
        id = jsonrpc.id_at(edge, last)
        if not self._refused_oversized and (id is not None or last):
            text = f"The message is larger than {jsonrpc.readable(jsonrpc.MAX_MESSAGE)}."
            self._send(jsonrpc.error(id or jsonrpc.NULL, jsonrpc.error_object(INVALID_REQUEST, text)))
        self._refused_oversized = not last and (self._refused_oversized or id is not None)

    async def close(self) -> None:
        """Abandon what is in flight; the upstreams are told."""
        self._relay.close()
        tasks = [task for task, _ in self._running.values()]
        for key in list(self._running):
            self._cancel(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _receive_batch(self, line: bytes) -> None:
        """MCP 2025-03-26, base protocol, "Batching"; every other revision has none."""
        try:
            elements = elements_of(line)
        except Malformed as problem:
            self._malformed(problem)
            return
        if self._session.version != "2025-03-26":
            text = f"batches exist in protocol version 2025-03-26 only, this is {self._session.version or era.MODERN}"
            self._send(jsonrpc.error(jsonrpc.NULL, jsonrpc.error_object(INVALID_REQUEST, text)))
            return
        batch = Batch(self._send)
        for element in elements:
            self._receive_one(element, batch)
        batch.closed()

    def _receive_one(self, line: bytes, batch: Batch | None = None) -> None:
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            self._malformed(problem, batch)
            return
        if message.method is None:
            self._session.client_peer.answered(message)
        elif message.id:
            self._on_request(message, batch)
        else:
            self._on_notification(message)

    def _malformed(self, problem: Malformed, batch: Batch | None = None) -> None:
        if problem.answer:
            self._session.client_peer.malformed(problem)
        line = jsonrpc.error(problem.id, jsonrpc.error_object(problem.code, problem.what))
        if batch is None:
            self._send(line)
        else:
            batch.opened()
            batch.answer(line)

    def _on_notification(self, message: Message) -> None:
        if message.method == "notifications/cancelled":
            self._on_cancelled(message.params)
        elif message.method == "notifications/initialized":
            self._session.initialized()
        elif message.method == "notifications/roots/list_changed":
            self._relay.roots_changed()

    def _on_request(self, message: Message, batch: Batch | None) -> None:
        assert message.method is not None
        incoming = Incoming(bytes(message.id), message.method, message.params, self._send, batch)
        if batch is not None:
            batch.opened()
        meta = era.request_meta(message.params) if message.params else None
        if self._tracing is not None:
            version = self._session.version if meta is None else meta.version
            incoming.span = self._tracing.request(message.method, incoming.id, message.params, version)
        try:
            if meta is None:
                incoming.capabilities = self._session.capabilities
                incoming.log_level = self._session.level
                self._route_legacy(incoming)
            else:
                incoming.modern = True
                if meta.version != era.MODERN:
                    data = {"supported": [era.MODERN], "requested": meta.version}
                    raise Refusal(era.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
                if meta.capabilities is None:
                    raise Refusal(INVALID_PARAMS, f'_meta must hold an object "{era.CLIENT_CAPABILITIES}"')
                incoming.capabilities, incoming.log_level = meta.capabilities, meta.log_level
                self._route_modern(incoming)
        except Refusal as refusal:
            trail.record("refused", outcome="refused", method=incoming.method, code=refusal.code)
            incoming.answer(_error_line(incoming, refusal.error))
        if incoming.method != "ping":
            self._session.wake(incoming.capabilities)

    def _route_legacy(self, incoming: Incoming) -> None:
        match incoming.method:
            case "ping":
                _answer(incoming, b"{}")
            case "tools/list":
                _answer(incoming, self._toolbox.list_tools(incoming.params))
            case "initialize":
                capabilities = self._capabilities(legacy=True)
                self._session.announced = frozenset(capabilities)
                version = self._session.initialize(incoming.params)
                _answer(incoming, tool_surface.introduction(version, capabilities))
            case method if handler := self._handler(self._legacy_handlers, method):
                self._start(incoming, handler)
            case method:
                raise Refusal(METHOD_NOT_FOUND, f"Method not found: {method}")

    def _route_modern(self, incoming: Incoming) -> None:
        match incoming.method:
            case "tools/list":
                _answer(incoming, self._toolbox.list_tools(incoming.params))
            case "server/discover":
                result = {"supportedVersions": [era.MODERN], "capabilities": self._capabilities(legacy=False)}
                _answer(incoming, msgspec.json.encode(result))
            case "subscriptions/listen":
                self._start(incoming, self._subscriptions.listen)
            case method if handler := self._handler(self._handlers, method):
                self._start(incoming, handler)
            case method:
                raise Refusal(METHOD_NOT_FOUND, f"Method not found: {method}")

    def _handler(self, handlers: Handlers, method: str) -> Handler | None:
        handler, kinds = handlers.get(method, (None, ()))
        return handler if not kinds or any(map(self._catalog.has, kinds)) else None

    def _capabilities(self, *, legacy: bool) -> dict[str, object]:
        resources, prompts = self._catalog.has(RESOURCES), self._catalog.has(PROMPTS)
        return tool_surface.capabilities(resources=resources, prompts=prompts, legacy=legacy)

    # What runs

    def _start(self, incoming: Incoming, handler: Handler) -> None:
        key = _id_key(incoming.id)
        if key in self._running:
            raise Refusal(INVALID_REQUEST, "a request with this id is still being answered")
        call = Call(incoming, self._relay.on_progress(incoming))
        context = None if incoming.span is None else incoming.span.context
        task = asyncio.get_running_loop().create_task(self._run(call, handler, key), context=context)
        self._running[key] = task, call

    def _cancel(self, key: object) -> None:
        task, call = self._running[key]
        task.cancel()
        if not call.has_begun:
            # Then it never will, and cannot clean up.
            del self._running[key]
            call.incoming.abandon()

    async def _run(self, call: Call, handler: Handler, key: object) -> None:
        call.has_begun = True
        self._relay.started(call)
        try:
            line = await self._line_for(call, handler)
        except asyncio.CancelledError:
            call.incoming.abandon()
            raise
        finally:
            # Before the answer goes out: with its arrival the id is free again.
            del self._running[key]
            self._relay.ended(call)
        call.incoming.answer(line)

    async def _line_for(self, call: Call, handler: Handler) -> bytes:
        incoming = call.incoming
        try:
            return _result_line(incoming, await handler(call))
        except Refusal as refusal:
            if not call.is_recorded:
                trail.record("refused", outcome="refused", method=incoming.method, code=refusal.code)
            return _error_line(incoming, refusal.error)
        except UpstreamRefused as refusal:
            return _error_line(incoming, refusal.error)
        except UpstreamError as error:
            if incoming.method == "tools/call":
                return _result_line(incoming, explain(error))
            return _error_line(incoming, jsonrpc.error_object(jsonrpc.INTERNAL_ERROR, _told(error)))
        except Exception as error:
            report_bug(f"the request {incoming.method}", error)
            text = "Internal error of the proxy; its stderr says more"
            return _error_line(incoming, jsonrpc.error_object(jsonrpc.INTERNAL_ERROR, text))

    def _elicit_by_request(self, handler: Handler) -> Handler:
        """For a client of the handshake: a modern upstream's questions are asked by requests, then the call is made again."""

        async def run(call: Call) -> bytes:
            for _ in range(MAX_ROUNDS):
                result = await handler(call)
                if call.is_legacy_on_both_sides:
                    return result
                questions = questions_of(result)
                if questions is None:
                    return bridge.legacy_result(result)
                call.inputs = await responses(questions, self._session.can, self._session.ask)
                call.state = questions.state
            raise UpstreamFailed(f"it asked more than {MAX_ROUNDS} times")

        return run

    def _elicit_by_result(self, handler: Handler) -> Handler:
        """For a modern client: a handshake upstream's requests become questions in a result."""

        async def run(call: Call) -> bytes:
            state = state_of_ours(call.state) if call.state else None
            if state is not None:
                return await self._relay.exchanges.resume(state, call.inputs)
            capabilities = call.incoming.capabilities
            if not answerable(capabilities):
                return await handler(call)
            return await self._relay.exchanges.run(Exchange(handler(call), lambda: call.group, capabilities))

        return run

    async def _set_level(self, call: Call) -> bytes:
        self._session.set_level(call.read(_LevelParams).level)
        self._relay.set_level()
        return b"{}"

    def _on_cancelled(self, params: Raw) -> None:
        try:
            request = msgspec.json.decode(params or b"{}", type=_CancelledParams).request
        except msgspec.DecodeError:
            return
        if request and (key := _id_key(request)) in self._running:
            self._cancel(key)


def _result_line(incoming: Incoming, result: bytes) -> bytes:
    written = bridge.modern_result(incoming.method, result) if incoming.modern else result
    return jsonrpc.result(incoming.id, written)


def _error_line(incoming: Incoming, error: bytes) -> bytes:
    return jsonrpc.error(incoming.id, bridge.modern_error(error) if incoming.modern else error)


def _answer(incoming: Incoming, result: bytes) -> None:
    incoming.answer(_result_line(incoming, result))


def _told(error: UpstreamError) -> str:
    words = error.stderr_tail if isinstance(error, UpstreamFailed) else ""
    return f"The upstream server failed: {error}" + (f"\nWhat it said last:\n{words}" if words else "")


_decode_id = msgspec.json.Decoder(str | int | float).decode


def _id_key(raw: bytes) -> object:
    """An id as a key that tells ``1`` from ``"1"`` and knows ``"\\u0061"`` from ``"a"`` to be the same."""
    try:
        value = _decode_id(raw)
    except msgspec.DecodeError:
        # 1e400 is an id that no Python number holds; a cancellation may name anything at all.
        return bytes(raw)
    return type(value), value
