"""What an attached end remembers of the session of its client.

If the serving process dies, the next one has to know the session: the handshake, the log level and the subscriptions. In 2026-07-28,
subscriptions are requests without an answer. The next process also gets the requests that change nothing, such as lists. A call that was on
its way gets an error, because the server may have carried it out. This end withdraws a question that the dead process asked, and a late
answer to it goes to no other process.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR

#: Subscriptions that are made again.
MAX_SUBSCRIPTIONS = 1024
#: The requests that change nothing, so the next process can answer them; and the maximum size of one.
_HARMLESS = frozenset(
    {
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "completion/complete",
    }
)
_MAX_KEPT = 1 << 16
#: The error of a call that was on its way.
LOST = (
    "The connection to the process that serves this session ended before the answer came. "
    "The call may have been carried out; repeat it only if that does no harm."
)
_WITHDRAWN = b'"the process that asked has ended"'
_VERSION_WITH_BATCHES = "2025-03-26"
#: How ids begin that are none: a missing one, null, true, false, an object and an array. The proxy refuses them without their id.
_NO_ID = (b"", b"n", b"t", b"f", b"{", b"[")
_OWN_ID = "dynamic-mcp-attached-"


class _Envelope(msgspec.Struct, gc=False):
    id: Raw = Raw(b"")
    method: str | None = None
    params: Raw = Raw(b"")
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")


class _Handshake(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")


class _Cancelled(msgspec.Struct):
    id: Raw = msgspec.field(name="requestId", default=Raw(b""))


class _Resource(msgspec.Struct):
    uri: str = ""


class _Meta(msgspec.Struct):
    subscription: Raw = msgspec.field(name="io.modelcontextprotocol/subscriptionId", default=Raw(b""))


class _Acknowledged(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(list[_Envelope]).decode


class SessionMemory:
    """Sees every line of both directions."""

    def __init__(self) -> None:
        #: requests of the client without an answer: their methods
        self._in_flight: dict[bytes, str] = {}
        #: those of them that another process can answer: their lines
        self._harmless: dict[bytes, bytes] = {}
        #: questions to the client without an answer
        self._asked: set[bytes] = set()
        self._handshake: bytes | None = None
        self._handshake_id = b""
        self._is_initialized = False
        #: whether the proxy answers the messages of a batch; otherwise it refuses the whole line, and names no id
        self._takes_batches = False
        self._level: bytes | None = None
        self._subscribed: dict[str, bytes] = {}
        #: open requests for announcements: their parameters; and those whose acknowledgement the client has had
        self._listening: dict[bytes, bytes] = {}
        self._acknowledged: set[bytes] = set()
        #: requests that this end made itself, whose answers the client does not get
        self._own: set[bytes] = set()
        self._count = 0

    def to_server(self, line: bytes) -> bytes:
        """Note a line of the client; what the serving process gets, which is nothing for an answer to a withdrawn question."""
        messages = _messages(line)
        if self._takes_batches or not _is_batch(line):
            for message in messages:
                self._note_from_client(message)
            if len(messages) == 1 and messages[0].method in _HARMLESS and len(line) <= _MAX_KEPT:
                id = bytes(messages[0].id)
                if id in self._in_flight:
                    self._harmless[id] = line
        if len(messages) == 1 and _is_answer(messages[0]):
            id = bytes(messages[0].id)
            if id not in self._asked:
                return b""
            self._asked.discard(id)
        return line

    def to_client(self, line: bytes) -> bytes:
        """Note a line of the serving process; what the client gets."""
        for message in _messages(line):
            id = bytes(message.id)
            if message.method is None:
                if id in self._own:
                    self._own.discard(id)
                    return b""
                self._end_request(id)
            elif id:
                self._asked.add(id)
            elif message.method == "notifications/subscriptions/acknowledged":
                subscription = _subscription(message)
                if subscription in self._acknowledged:
                    return b""
                if subscription in self._listening:
                    self._acknowledged.add(subscription)
            elif message.method == "notifications/cancelled":
                self._asked.discard(_cancelled(message))
        return line

    def withdrawn(self) -> Iterator[bytes]:
        """The lines for the client that withdraw every question."""
        for id in self._asked:
            params = b'{"requestId":%b,"reason":%b}' % (id, _WITHDRAWN)
            yield jsonrpc.notification("notifications/cancelled", params)
        self._asked.clear()

    def lost(self, *, continues: bool) -> Iterator[bytes]:
        """The lines for the client after the end of the serving process. ``continues`` = another process goes on with the session."""
        yield from self.withdrawn()
        for id, method in list(self._in_flight.items()):
            if (
                method != "initialize"
                and id not in self._listening
                and not (continues and id in self._harmless)
            ):
                del self._in_flight[id]
                yield jsonrpc.error(id, jsonrpc.error_object(INTERNAL_ERROR, LOST))
        self._own.clear()

    def replay(self) -> Iterator[bytes]:
        """The lines with which the next serving process learns of the session."""
        for id, params in self._listening.items():
            yield jsonrpc.request(id, "subscriptions/listen", params)
        if self._handshake is None:
            return
        if self._handshake_id in self._in_flight:
            # The client still waits for this answer.
            yield jsonrpc.request(self._handshake_id, "initialize", self._handshake)
        else:
            yield self._request("initialize", self._handshake)
        if self._is_initialized:
            yield jsonrpc.notification("notifications/initialized")
        if self._level is not None:
            yield self._request("logging/setLevel", self._level)
        for params in self._subscribed.values():
            yield self._request("resources/subscribe", params)

    def repeated(self) -> list[bytes]:
        """The lines of the requests that the next serving process answers. A request goes to one further process only."""
        lines = list(self._harmless.values())
        self._harmless.clear()
        return lines

    def _request(self, method: str, params: bytes) -> bytes:
        self._count += 1
        id = msgspec.json.encode(f"{_OWN_ID}{self._count}")
        self._own.add(id)
        return jsonrpc.request(id, method, params)

    def _end_request(self, id: bytes) -> None:
        self._in_flight.pop(id, None)
        self._harmless.pop(id, None)
        self._listening.pop(id, None)
        self._acknowledged.discard(id)

    def _note_from_client(self, message: _Envelope) -> None:
        id, params = bytes(message.id), bytes(message.params)
        match message.method:
            case None:
                return
            case "notifications/initialized":
                self._is_initialized = True
            case "notifications/cancelled":
                self._end_request(_cancelled(message))
            case "initialize":
                self._handshake, self._handshake_id = params, id
                self._takes_batches = _version(params) == _VERSION_WITH_BATCHES
            case "logging/setLevel":
                self._level = params
            case "resources/subscribe" if len(self._subscribed) < MAX_SUBSCRIPTIONS:
                self._subscribed[_uri(params)] = params
            case "subscriptions/listen" if id and len(self._listening) < MAX_SUBSCRIPTIONS:
                self._listening[id] = params
            case "resources/unsubscribe":
                self._subscribed.pop(_uri(params), None)
        if id[:1] not in _NO_ID:
            self._in_flight[id] = message.method or ""


def _messages(line: bytes) -> list[_Envelope]:
    """The messages of a line; none if it cannot be read, which the serving process tells the client."""
    try:
        return _decode_batch(line) if _is_batch(line) else [_decode(line)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _is_batch(line: bytes) -> bool:
    return line.lstrip()[:1] == b"["


def _is_answer(message: _Envelope) -> bool:
    return message.method is None and bool(message.id) and bool(bytes(message.result) or bytes(message.error))


def _version(params: bytes) -> str:
    try:
        return msgspec.json.decode(params or b"{}", type=_Handshake).version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _cancelled(message: _Envelope) -> bytes:
    try:
        return bytes(msgspec.json.decode(message.params or b"{}", type=_Cancelled).id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""


def _subscription(message: _Envelope) -> bytes:
    try:
        return bytes(msgspec.json.decode(message.params or b"{}", type=_Acknowledged).meta.subscription)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""


def _uri(params: bytes) -> str:
    try:
        return msgspec.json.decode(params or b"{}", type=_Resource).uri
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
