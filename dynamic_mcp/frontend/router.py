"""Routes the messages of the client, each request in its own era.

A request gets exactly one answer, with its id, unless the client cancelled it; a notification gets none. The router answers the
methods of the handshake, ``ping`` and ``tools/list`` at once. All other requests go to ``RunningCalls``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.frontend.batch import Batch
from dynamic_mcp.frontend.call import Incoming
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.client_info import client_info
from dynamic_mcp.frontend.exchange import Handler
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.running import RunningCalls, error_line, result_line
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, Kind
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import report_bug
from dynamic_mcp.protocol import era, jsonrpc, large, versions
from dynamic_mcp.protocol.batch import elements_of
from dynamic_mcp.protocol.ids import cancelled_id
from dynamic_mcp.protocol.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Malformed,
    Message,
    NoJson,
    Refusal,
    Repaired,
)
from dynamic_mcp.protocol.lines import EDGE, MAX_MESSAGE, begins_answer, find_id
from dynamic_mcp.protocol.oversized import OversizedMessages
from dynamic_mcp.protocol.pieces import Large, Line, edges_of, first_character
from dynamic_mcp.wording import cut

#: Writes one line to the client.
Send = Callable[[bytes], None]
#: Handlers by method, each with the kinds of which the configuration has to allow at least one.
Handlers = Mapping[str, tuple[Handler, tuple[Kind, ...]]]

_Line = TypeVar("_Line", bound=Line)


class Router:
    """Takes the lines of the client; ``send`` writes one line to it.

    A transport with a stream for each request gives a ``reply`` with the line: it takes the answers, and what belongs to the requests.
    """

    def __init__(
        self,
        send: Send,
        session: ClientSession,
        list_tools: Callable[[Raw], bytes],
        groups: Iterable[str],
        catalog: Catalog,
        relay: Relay,
        calls: RunningCalls,
        hooks: Hooks,
        *,
        legacy: Handlers,
        modern: Handlers,
    ) -> None:
        self._send = send
        self._session = session
        self._list_tools = list_tools
        self._groups = groups
        self._catalog = catalog
        self._relay = relay
        self._calls = calls
        self._hooks = hooks
        self._legacy = legacy
        self._modern = modern
        self._oversized = OversizedMessages(self._take_oversized)

    def receive(self, line: bytes, reply: Send | None = None) -> None:
        """Handle one line from the client."""
        reply = reply or self._send
        try:
            # Almost every line begins with a brace, so this asks nothing else about it.
            if line[:1] != b"{" and first_character(line) == b"[":
                self._receive_batch(line, reply)
            else:
                self._receive_one(line, reply)
        except Exception as error:
            self._report(line, error, reply)

    async def receive_large(self, line: Large, reply: Send | None = None) -> None:
        """Handle one large line from the client. Other work goes on meanwhile."""
        reply = reply or self._send
        try:
            if first_character(line) == b"[":
                await self._receive_large_batch(line, reply)
            else:
                await self._receive_any(line, reply)
        except Exception as error:
            self._report(line, error, reply)

    def _report(self, line: Line, error: Exception, reply: Send) -> None:
        # The loop would only log it, and uvloop would also close the stream of the client.
        reason = report_bug("a message of the client", error)
        first, last = edges_of(line, EDGE)
        id = find_id(first, False) or find_id(last, True)
        if id is not None and not begins_answer(first):
            reply(jsonrpc.error(id, jsonrpc.error_object(INTERNAL_ERROR, reason)))

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Handle a message that is too large to keep, once an edge shows its id, or at its end."""
        self._oversized.take(edge, last)

    def _take_oversized(self, id: bytes, is_answer: bool) -> None:
        """Refuse an oversized message. An answer fails its question."""
        if is_answer:
            self._session.client_peer.take_oversized(id, True)
            return
        text = f"The message is larger than {jsonrpc.format_size(MAX_MESSAGE)}."
        self._send(jsonrpc.error(id or jsonrpc.NULL, jsonrpc.error_object(INVALID_REQUEST, text)))

    def _receive_batch(self, line: bytes, reply: Send) -> None:
        with self._batch(reply) as batch:
            for element in self._allowed(elements_of(line)):
                self._receive_one(element, reply, batch)

    async def _receive_large_batch(self, line: Large, reply: Send) -> None:
        with self._batch(reply) as batch:
            for element in self._allowed(await large.elements_of(line)):
                await self._receive_any(element, reply, batch)

    @contextmanager
    def _batch(self, reply: Send) -> Iterator[Batch]:
        """A batch, complete at the end of the context. One that is malformed as a whole gets an error."""
        batch = Batch(reply)
        try:
            yield batch
        except Malformed as problem:
            self._malformed(problem, reply)
        else:
            batch.settle()

    def _allowed(self, elements: Iterable[_Line]) -> Iterable[_Line]:
        """The messages of a batch, which only MCP 2025-03-26 allows (basic, "Batching"). Raises Malformed in another version."""
        if self._session.version != versions.WITH_BATCHES:
            version = self._session.version or era.MODERN
            raise Malformed(
                INVALID_REQUEST,
                f"batches exist in protocol version {versions.WITH_BATCHES} only, this is {version}",
            )
        return elements

    async def _receive_any(self, line: Line, reply: Send, batch: Batch | None = None) -> None:
        if not isinstance(line, Large):
            self._receive_one(line, reply, batch)
            return
        try:
            message = await large.parse(line)
        except Malformed as problem:
            self._malformed(problem, reply, batch)
        else:
            self._take(message, reply, batch)

    def _receive_one(self, line: bytes, reply: Send, batch: Batch | None = None) -> None:
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            self._malformed(problem, reply, batch)
        else:
            self._take(message, reply, batch)

    def _take(self, message: Message, reply: Send, batch: Batch | None) -> None:
        if isinstance(message, Repaired):
            # The proxy refuses invalid values of a client; it repairs only those of servers.
            self._malformed(NoJson(), reply, batch)
        elif message.method is None:
            self._session.client_peer.receive_answer(message)
        elif message.id:
            self._on_request(message, reply, batch)
        else:
            self._on_notification(message)

    def _malformed(self, problem: Malformed, reply: Send, batch: Batch | None = None) -> None:
        peer = self._session.client_peer
        if problem.is_answer and (peer.receive_malformed(problem) or peer.has_used(problem.id)):
            # A message about an answer, also a late one, has no answer itself: its id is one of the proxy's own.
            return
        # Nothing in invalid JSON counts, so the answer has no id of it (JSON-RPC 2.0, section 5). One with the id of a request in flight
        # would end that request.
        is_unusable = isinstance(problem, NoJson) or self._calls.has(problem.id)
        id = jsonrpc.NULL if is_unusable else problem.id
        line = jsonrpc.error(id, jsonrpc.error_object(problem.code, problem.reason))
        if batch is None:
            reply(line)
        else:
            batch.expect_answer()
            batch.answer(line)

    def _on_notification(self, message: Message) -> None:
        match message.method:
            case "notifications/cancelled":
                self._on_cancelled(message.params)
            case "notifications/initialized":
                self._session.initialized()
            case "notifications/roots/list_changed":
                self._relay.roots_changed()

    def _on_cancelled(self, params: Raw) -> None:
        if id := cancelled_id(params):
            self._calls.cancel(Raw(id))

    def _on_request(self, message: Message, reply: Send, batch: Batch | None) -> None:
        assert message.method is not None
        incoming = Incoming(bytes(message.id), message.method, message.params, reply, batch)
        if batch is not None:
            batch.expect_answer()
        meta = era.request_meta(message.params) if message.params else None
        version = self._session.version if meta is None else meta.version
        incoming.span = self._hooks.request(message.method, incoming.id, message.params, version)
        try:
            try:
                self._describe_client(incoming, meta)
            finally:
                if incoming.modern or incoming.method not in ("ping", "initialize"):
                    self._session.set_ready(incoming.capabilities, incoming.client_info)
            if incoming.modern:
                self._route_modern(incoming)
            else:
                self._route_legacy(incoming)
        except Refusal as refusal:
            self._hooks.record("refused", outcome="refused", method=incoming.method, code=refusal.code)
            incoming.answer(error_line(incoming, refusal.error))

    def _describe_client(self, incoming: Incoming, meta: era.RequestMeta | None) -> None:
        """Note what the client says about itself. Raises Refusal if it leaves out what a modern request needs."""
        if meta is None:
            incoming.capabilities = self._session.capabilities
            incoming.log_level = self._session.level
            incoming.client_info = self._session.client_info
            return
        incoming.modern = True
        if meta.version != era.MODERN:
            data = {"supported": [era.MODERN], "requested": cut(meta.version)}
            raise Refusal(era.UNSUPPORTED_VERSION, "Unsupported protocol version", data)
        if meta.capabilities is None:
            raise Refusal(INVALID_PARAMS, f'_meta must hold an object "{era.CLIENT_CAPABILITIES}"')
        incoming.capabilities, incoming.log_level = meta.capabilities, meta.log_level
        incoming.client_info = client_info(meta.client_info)

    def _route_legacy(self, incoming: Incoming) -> None:
        match incoming.method:
            case "ping":
                _answer(incoming, b"{}")
            case "tools/list":
                _answer(incoming, self._list_tools(incoming.params))
            case "initialize":
                version = self._session.initialize(incoming.params)
                # From here on the groups of this client are known.
                self._session.set_ready(self._session.capabilities, self._session.client_info)
                capabilities = self._capabilities(legacy=True)
                self._session.announced = frozenset(capabilities)
                _answer(incoming, tool_surface.introduction(version, capabilities, self._groups))
            case method:
                self._calls.start(incoming, self._handler(self._legacy, method))

    def _route_modern(self, incoming: Incoming) -> None:
        match incoming.method:
            case "tools/list":
                _answer(incoming, self._list_tools(incoming.params))
            case "server/discover":
                result = {
                    "supportedVersions": [era.MODERN],
                    "capabilities": self._capabilities(legacy=False),
                    "instructions": tool_surface.instructions(self._groups),
                }
                _answer(incoming, msgspec.json.encode(result))
            case method:
                self._calls.start(incoming, self._handler(self._modern, method))

    def _handler(self, handlers: Handlers, method: str) -> Handler:
        """The handler of a method. Raises Refusal for a method that the proxy or this configuration does not have.

        A client that was told of a capability keeps it, because the configuration may change later.
        """
        handler, kinds = handlers.get(method, (None, ()))
        told = self._session.announced
        if handler is None or (
            kinds and not any(self._catalog.has(one) or one.feature in told for one in kinds)
        ):
            raise Refusal(METHOD_NOT_FOUND, f"Method not found: {cut(method)}")
        return handler

    def _capabilities(self, *, legacy: bool) -> dict[str, object]:
        resources, prompts = self._catalog.has(RESOURCES), self._catalog.has(PROMPTS)
        return tool_surface.capabilities(resources=resources, prompts=prompts, legacy=legacy)


def _answer(incoming: Incoming, result: bytes) -> None:
    incoming.answer(result_line(incoming, result))
