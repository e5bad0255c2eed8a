"""What an attached end remembers of the session of its client.

If the serving process dies, the next one has to know the session: the handshake, the log level and the subscriptions. In 2026-07-28,
subscriptions are requests without an answer. The next process also gets the requests that change nothing, such as lists. A call that was on
its way gets an error, because the server may have carried it out. This end withdraws a question that the dead process asked, and a late
answer to it goes to no other process.

The next process does not know what the client has got, and what changed meanwhile. So this end announces the lists that the client got,
and the resources that it subscribed to. It does so as soon as the next process announces their changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol import era, jsonrpc, versions
from dynamic_mcp.protocol.ids import cancelled_id, id_key, own_id_key
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
#: The notifications of the changes of lists, by the requests for these lists.
_CHANGED = {
    "tools/list": "notifications/tools/list_changed",
    "prompts/list": "notifications/prompts/list_changed",
    "resources/list": "notifications/resources/list_changed",
    "resources/templates/list": "notifications/resources/list_changed",
}
_UPDATED = "notifications/resources/updated"
#: The error of a call that was on its way.
LOST = (
    "The connection to the process that serves this session ended before the answer came. "
    "The call may have been carried out; repeat it only if that does no harm."
)
_WITHDRAWN = b'"the process that asked has ended"'
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


class _Resource(msgspec.Struct):
    uri: str = ""


class _Meta(msgspec.Struct):
    subscription: Raw = msgspec.field(name=era.SUBSCRIPTION_ID, default=Raw(b""))


class _Accepted(msgspec.Struct):
    tools: bool = msgspec.field(name="toolsListChanged", default=False)
    prompts: bool = msgspec.field(name="promptsListChanged", default=False)
    resources: bool = msgspec.field(name="resourcesListChanged", default=False)
    uris: list[str] = msgspec.field(name="resourceSubscriptions", default_factory=list)


class _Acknowledgement(msgspec.Struct):
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)
    accepted: _Accepted = msgspec.field(name="notifications", default_factory=_Accepted)


_decode = msgspec.json.Decoder(_Envelope).decode
_decode_batch = msgspec.json.Decoder(list[_Envelope]).decode


class SessionMemory:
    """Sees every line of both directions."""

    def __init__(self) -> None:
        #: requests of the client without an answer, by the keys of their ids: their ids and methods
        self._in_flight: dict[object, tuple[bytes, str]] = {}
        #: those of them that another process can answer: their lines
        self._harmless: dict[object, bytes] = {}
        #: questions to the client without an answer: their ids
        self._asked: dict[object, bytes] = {}
        self._handshake: bytes | None = None
        self._handshake_id = b""
        self._is_initialized = False
        #: whether the proxy answers the messages of a batch; otherwise it refuses the whole line, and names no id
        self._takes_batches = False
        self._level: bytes | None = None
        self._subscribed: dict[str, bytes] = {}
        #: the notifications of the lists that the client got
        self._lists: set[str] = set()
        #: open requests for announcements: their ids and parameters; and the acknowledgements that the client has had
        self._listening: dict[object, tuple[bytes, bytes]] = {}
        self._acknowledged: dict[object, _Acknowledgement] = {}
        #: requests that this end made itself: what the client gets in place of their answers
        self._own: dict[object, bytes] = {}
        self._count = 0

    def to_server(self, line: bytes) -> bytes:
        """Note a line of the client; what the serving process gets, which is nothing for an answer to a withdrawn question."""
        messages = _messages(line)
        if self._takes_batches or not _is_batch(line):
            for message in messages:
                self._note_from_client(message)
            if len(messages) == 1 and messages[0].method in _HARMLESS and len(line) <= _MAX_KEPT:
                key = id_key(messages[0].id)
                if key in self._in_flight:
                    self._harmless[key] = line
        if len(messages) == 1 and _is_answer(messages[0]):
            return line if self._asked.pop(own_id_key(bytes(messages[0].id)), None) else b""
        return line

    def to_client(self, line: bytes) -> bytes:
        """Note a line of the serving process; what the client gets."""
        for message in _messages(line):
            id = bytes(message.id)
            if message.method is None:
                key = id_key(id)
                if key in self._own:
                    return self._own.pop(key)
                _, method = self._in_flight.get(key, (b"", ""))
                if message.result and method in _CHANGED:
                    self._lists.add(_CHANGED[method])
                self._end_request(key)
            elif id:
                self._asked[own_id_key(id)] = id
            elif message.method == "notifications/subscriptions/acknowledged":
                acknowledgement = _acknowledgement(message)
                key = id_key(acknowledgement.meta.subscription)
                if key in self._acknowledged:
                    return self._missed(self._acknowledged[key])
                if key in self._listening:
                    self._acknowledged[key] = acknowledgement
            elif message.method == "notifications/cancelled":
                self._asked.pop(own_id_key(cancelled_id(message.params)), None)
        return line

    def withdrawn(self) -> Iterator[bytes]:
        """The lines for the client that withdraw every question."""
        for id in self._asked.values():
            params = b'{"requestId":%b,"reason":%b}' % (id, _WITHDRAWN)
            yield jsonrpc.notification("notifications/cancelled", params)
        self._asked.clear()

    def lost(self, *, continues: bool) -> Iterator[bytes]:
        """The lines for the client after the end of the serving process. ``continues`` = another process goes on with the session."""
        yield from self.withdrawn()
        for key, (id, method) in list(self._in_flight.items()):
            if (
                method != "initialize"
                and key not in self._listening
                and not (continues and key in self._harmless)
            ):
                del self._in_flight[key]
                yield jsonrpc.error(id, jsonrpc.error_object(INTERNAL_ERROR, LOST))

    def replay(self) -> Iterator[bytes]:
        """The lines with which the next serving process learns of the session."""
        self._own.clear()
        for id, params in self._listening.values():
            yield jsonrpc.request(id, "subscriptions/listen", params)
        if self._handshake is None:
            return
        if id_key(self._handshake_id) in self._in_flight:
            # The client still waits for this answer.
            yield jsonrpc.request(self._handshake_id, "initialize", self._handshake)
        else:
            lists = self._lists if self._is_initialized else ()
            yield self._request(
                "initialize", self._handshake, b"".join(map(jsonrpc.notification, sorted(lists)))
            )
        if self._is_initialized:
            yield jsonrpc.notification("notifications/initialized")
        if self._level is not None:
            yield self._request("logging/setLevel", self._level)
        for uri, params in self._subscribed.items():
            updated = jsonrpc.notification(_UPDATED, msgspec.json.encode({"uri": uri}))
            yield self._request("resources/subscribe", params, updated)

    def repeated(self) -> list[bytes]:
        """The lines of the requests that the next serving process answers. A request goes to one further process only."""
        lines = list(self._harmless.values())
        self._harmless.clear()
        return lines

    def _request(self, method: str, params: bytes, in_place: bytes = b"") -> bytes:
        """The line of an own request. The client gets ``in_place`` of its answer."""
        self._count += 1
        id = msgspec.json.encode(f"{_OWN_ID}{self._count}")
        self._own[id_key(id)] = in_place
        return jsonrpc.request(id, method, params)

    def _missed(self, told: _Acknowledgement) -> bytes:
        """What a modern client gets in place of a further acknowledgement."""
        accepted = told.accepted
        meta: dict[str, object] = {"_meta": {era.SUBSCRIPTION_ID: told.meta.subscription}}
        lists = {
            "notifications/tools/list_changed": accepted.tools,
            "notifications/prompts/list_changed": accepted.prompts,
            "notifications/resources/list_changed": accepted.resources,
        }
        found = [(method, meta) for method, is_wanted in lists.items() if is_wanted and method in self._lists]
        found += [(_UPDATED, {"uri": uri, **meta}) for uri in accepted.uris]
        return b"".join(jsonrpc.notification(method, msgspec.json.encode(params)) for method, params in found)

    def _end_request(self, key: object) -> None:
        self._in_flight.pop(key, None)
        self._harmless.pop(key, None)
        self._listening.pop(key, None)
        self._acknowledged.pop(key, None)

    def _note_from_client(self, message: _Envelope) -> None:
        id, params = bytes(message.id), bytes(message.params)
        match message.method:
            case None:
                return
            case "notifications/initialized":
                self._is_initialized = True
            case "notifications/cancelled":
                self._end_request(id_key(cancelled_id(message.params)))
            case "initialize":
                self._handshake, self._handshake_id = params, id
                self._takes_batches = _version(params) == versions.WITH_BATCHES
            case "logging/setLevel":
                self._level = params
            case "resources/subscribe" if len(self._subscribed) < MAX_SUBSCRIPTIONS:
                self._subscribed[_uri(params)] = params
            case "subscriptions/listen" if id and len(self._listening) < MAX_SUBSCRIPTIONS:
                self._listening[id_key(id)] = id, params
            case "resources/unsubscribe":
                self._subscribed.pop(_uri(params), None)
        if id[:1] not in _NO_ID:
            self._in_flight[id_key(id)] = id, message.method or ""


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


def _acknowledgement(message: _Envelope) -> _Acknowledgement:
    try:
        return msgspec.json.decode(message.params or b"{}", type=_Acknowledgement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Acknowledgement()


def _uri(params: bytes) -> str:
    try:
        return msgspec.json.decode(params or b"{}", type=_Resource).uri
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
