"""The state of the client, and the requests and notifications that the proxy sends to a legacy client.

A modern client gets nothing from this module: ``subscriptions`` and ``relay`` notify it, and ``exchange`` puts questions into results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.attribution import Elicitations
from dynamic_mcp.frontend.client_info import client_info
from dynamic_mcp.frontend.valid_answers import valid_answer
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import jsonrpc, versions
from dynamic_mcp.protocol.ids import ids_of_this_process
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import ASKS_THE_USER, Options
from dynamic_mcp.wording import cut

#: From the least to the most severe (RFC 5424, section 6.2.1; MCP 2025-11-25, server/utilities/logging).
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

#: The client capability that a request of an upstream needs.
REQUIRED_CAPABILITIES = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}

#: The first revision with elicitation in URL mode.
_URL_MODE = "2025-11-25"
#: Seconds that the user may take to answer a question.
USER_TIMEOUT = 600.0
#: Bytes of one message to a client on stdio. A longer line ends the connection, with all groups, in clients with the official TypeScript
#: SDK since 1.30.0 (10 MiB), and in Codex with a remote executor (8 MiB).
MAX_LINE = 8_000_000
#: What surrounds the params of a message, in bytes.
_AROUND = 4096
#: Seconds that the client itself may take, such as for its roots.
CLIENT_TIMEOUT = 5.0


class _InitializeParams(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")
    capabilities: dict[str, Raw] = {}
    client_info: Raw = msgspec.field(name="clientInfo", default=Raw(b""))


class _Modes(msgspec.Struct):
    url: dict[str, Raw] | None = None


class _Capabilities(msgspec.Struct):
    elicitation: _Modes = msgspec.field(default_factory=_Modes)


def shows_pages(capabilities: bytes) -> bool:
    """Whether these capabilities of a client (a JSON object) contain elicitation in URL mode."""
    try:
        return msgspec.json.decode(capabilities, type=_Capabilities).elicitation.url is not None
    except msgspec.DecodeError:
        return False


class ClientSession:
    """The state of one client."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        is_one_of_many: bool = False,
        max_message: int | None = None,
    ) -> None:
        """``send`` writes one line to the client. With ``is_one_of_many``, the servers have other clients too.

        ``max_message`` is the size of a message, in bytes, unless the configuration has another one; None for any size.
        """
        self._max_message = max_message
        #: the negotiated legacy revision; None without a handshake
        self.version: str | None = None
        #: set with the first request of the client other than a legacy ``ping``, because it shows the capabilities of the client
        self.ready = asyncio.Event()
        #: the capabilities in the answer to ``initialize``; the client expects notifications of their changes
        self.announced: frozenset[str] = frozenset()
        #: the elicitations in URL mode that upstreams began
        self.elicitations = Elicitations()
        # The client may answer a question of an earlier process, so no later process uses its id again.
        ids = ids_of_this_process() if is_one_of_many else None
        self.client_peer = Peer(lambda message: send(message.line), lambda message: None, ids=ids)
        #: the level of a client that set none; None for every message that the servers send
        self._default_level = "info" if is_one_of_many else None
        #: whether the client does not read, so that it gets no log messages meanwhile
        self.is_stalled = False
        #: called once, when ``ready`` is set
        self.on_ready: Callable[[], None] = lambda: None
        #: the level that ``logging/setLevel`` set
        self.level: str | None = None
        self._capabilities: dict[str, Raw] = {}
        #: the known capabilities of a legacy client (a JSON object)
        self.capabilities = b"{}"
        self._client_capabilities: bytes | None = None
        #: the description of the client for the upstreams (``client_info``); empty while it is unknown
        self.client_info = b""
        self._initialized = False

    def initialize(self, params: Raw) -> str:
        """Handle the params of ``initialize``; the version to answer."""
        try:
            requested = msgspec.json.decode(params or b"{}", type=_InitializeParams)
        except msgspec.DecodeError:
            requested = _InitializeParams()
        self.version = versions.negotiate(requested.version)
        self._capabilities = requested.capabilities
        self.capabilities = _encoded_known(requested.capabilities)
        self.client_info = client_info(requested.client_info)
        return self.version

    def initialized(self) -> None:
        """Allow notifications to the client, if ``initialize`` has an answer."""
        self._initialized = self.version is not None

    def set_ready(self, capabilities: bytes, client_info: bytes) -> None:
        """Note what the first such request shows. ``capabilities`` and ``client_info`` are its own, or those of the legacy session."""
        if not self.ready.is_set():
            self.client_info = self.client_info or client_info
            declared = self._capabilities or jsonrpc.decode_members(capabilities)
            self._client_capabilities = _encoded_known(declared)
            self.ready.set()
            self.on_ready()

    def client_capabilities(self) -> bytes:
        """The capabilities of the client for the handshakes with upstreams (a JSON object)."""
        return self._client_capabilities or b"{}"

    def has_capability(self, capability: str) -> bool:
        """Whether a legacy client declared this capability."""
        return self.version is not None and capability in self._capabilities

    @property
    def shows_pages(self) -> bool:
        """Whether a legacy client can show a page to its user now."""
        return self._initialized and (self.version or "") >= _URL_MODE and shows_pages(self.capabilities)

    async def ask(
        self, group: Group, method: str, params: bytes, reply: Callable[[bytes], None] | None = None
    ) -> bytes:
        """Send a request of a group's upstream to a legacy client. Raises UpstreamError, like a request to any peer.

        ``reply`` writes beside the answer to the client's own request, if the request belongs to one.
        """
        if method == "elicitation/create":
            self.elicitations.add(group, params)
        timeout = USER_TIMEOUT if method in ASKS_THE_USER else CLIENT_TIMEOUT
        send = None if reply is None else lambda message: reply(message.line)
        result = await self.client_peer.request(method, params, Options(timeout), send=send)
        return valid_answer(method, result)

    def input_closed(self) -> None:
        """Fail every question, because the client cannot answer any more."""
        self.client_peer.close(UpstreamFailed("the client has closed its output"))

    def notify(self, method: str, params: bytes = b"") -> None:
        """Notify a legacy client; do nothing before it is initialized."""
        if self._initialized:
            self.client_peer.notify(method, params)

    def max_message(self, group: Group) -> int | None:
        """The largest message about a group that the client gets, in bytes; None for any size."""
        return group.server.max_answer_size or self._max_message

    def takes(self, group: Group, params: bytes | Raw) -> bool:
        """Whether a request or notification with these params of a group is small enough for the client."""
        limit = self.max_message(group)
        return limit is None or memoryview(params).nbytes + _AROUND <= limit

    def wants_log(self, severity: int) -> bool:
        """Whether a legacy client gets log messages of this severity."""
        level = self.level or self._default_level
        wants = level is None or severity >= LOG_LEVELS.index(level)
        return self._initialized and not self.is_stalled and wants

    def set_level(self, level: str) -> None:
        """Raises Refusal for an unknown level."""
        if level not in LOG_LEVELS:
            levels = ", ".join(LOG_LEVELS)
            raise Refusal(INVALID_PARAMS, f"unknown level {level[:20]!r}; the levels are {levels}")
        self.level = level


class _LogParams(msgspec.Struct):
    level: str


def severity_of(params: bytes) -> int:
    """The index of the level in ``LOG_LEVELS``, of the valid params of a log message."""
    return LOG_LEVELS.index(msgspec.json.decode(params, type=_LogParams).level)


def known_capabilities(capabilities: bytes) -> set[str]:
    """The capabilities of a modern request that the questions of an upstream may need."""
    try:
        return set(jsonrpc.decode_members(capabilities)) & set(REQUIRED_CAPABILITIES.values())
    except msgspec.DecodeError:
        return set()


def _encoded_known(declared: dict[str, Raw]) -> bytes:
    return msgspec.json.encode(
        {name: raw for name, raw in declared.items() if name in REQUIRED_CAPABILITIES.values()}
    )


def refusal_of(method: str | None) -> Refusal:
    """The refusal of a request that the client cannot answer."""
    return Refusal(jsonrpc.METHOD_NOT_FOUND, f"the client does not support {cut(method or '')}")
