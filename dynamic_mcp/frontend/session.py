"""What is known about the client, and the requests and notifications that the proxy sends to it.

Only a legacy client gets messages that it did not ask for. A modern client gets what it
listens to, and questions in results (``exchange``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol import jsonrpc, versions
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Message, Refusal
from dynamic_mcp.protocol.peer import Peer

#: From the least to the most important (RFC 5424, MCP logging).
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

#: The client capability that a request of an upstream needs.
NEEDED = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}

#: Seconds that the user may take to answer a question.
USER_TIMEOUT = 600.0


class _InitializeParams(msgspec.Struct):
    version: str = msgspec.field(name="protocolVersion", default="")
    capabilities: dict[str, Raw] = {}


class ClientSession:
    """The client of this process."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        #: the handshake revision that was agreed on; None without a handshake
        self.version: str | None = None
        #: set with the first message of the client: from then on it is known what it can be asked for
        self.awake = asyncio.Event()
        #: the URIs that it subscribed to by a handshake revision's ``resources/subscribe``
        self.subscribed: set[str] = set()
        #: the capabilities whose changes it was told to expect, in the answer to ``initialize``
        self.announced: frozenset[str] = frozenset()
        #: requests to the client and their answers
        self.client_peer = Peer(lambda message: send(message.line), lambda message: None)
        #: the level that ``logging/setLevel`` set
        self.level: str | None = None
        self._capabilities: dict[str, Raw] = {}
        #: what the client of the handshake can be asked for (a JSON object)
        self.capabilities = b"{}"
        self._offered: bytes | None = None
        self._initialized = False

    def initialize(self, params: Raw) -> str:
        """Take the client's introduction; the version to answer."""
        try:
            asked = msgspec.json.decode(params or b"{}", type=_InitializeParams)
        except msgspec.DecodeError:
            asked = _InitializeParams()
        self.version = versions.agreed(asked.version)
        self._capabilities = asked.capabilities
        self.capabilities = _answerable(asked.capabilities)
        return self.version

    def initialized(self) -> None:
        """The client may be spoken to from now on."""
        self._initialized = True

    def wake(self, capabilities: bytes) -> None:
        """The first message came; ``capabilities`` is what a modern request says of its client."""
        if not self.awake.is_set():
            declared = self._capabilities or msgspec.json.decode(capabilities, type=dict[str, Raw])
            self._offered = _answerable(declared)
            self.awake.set()

    def offered(self) -> bytes:
        """What upstreams are told that the client can be asked for (a JSON object)."""
        return self._offered or b"{}"

    def can(self, capability: str) -> bool:
        """Whether the client of the handshake declared this capability."""
        return self.version is not None and capability in self._capabilities

    async def ask(self, method: str, params: bytes) -> bytes:
        """Ask the client of the handshake. Raises UpstreamError, for this client as for any other peer."""
        return await self.client_peer.request(method, params, USER_TIMEOUT)

    def notify(self, method: str, params: bytes = b"") -> None:
        """Tell the client of the handshake; nothing happens without one."""
        if self._initialized:
            self.client_peer.notify(method, params)

    def log(self, message: Message) -> None:
        """Pass on a log message that is important enough."""
        if self.level is None or importance_of(message) >= LEVELS.index(self.level):
            self.notify("notifications/message", bytes(message.params))

    def set_level(self, level: str) -> None:
        """Raises Refusal for a level that MCP does not know."""
        if level not in LEVELS:
            raise Refusal(INVALID_PARAMS, f"unknown level {level[:20]!r}; there are {', '.join(LEVELS)}")
        self.level = level


class _LogParams(msgspec.Struct):
    level: str = ""


def importance_of(message: Message) -> int:
    """The place of a log message's level in ``LEVELS``; one that cannot be read is as important as any."""
    try:
        level = msgspec.json.decode(message.params or b"{}", type=_LogParams).level
    except msgspec.DecodeError:
        level = ""
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def answerable(capabilities: bytes) -> set[str]:
    """The capabilities of a modern request that an upstream's questions may need."""
    try:
        return set(msgspec.json.decode(capabilities, type=dict[str, Raw])) & set(NEEDED.values())
    except msgspec.DecodeError:
        return set()


def _answerable(declared: dict[str, Raw]) -> bytes:
    return msgspec.json.encode({name: raw for name, raw in declared.items() if name in NEEDED.values()})


def refusal_of(method: str | None) -> Refusal:
    """The honest answer to an upstream that asks what the client cannot be asked."""
    return Refusal(jsonrpc.METHOD_NOT_FOUND, f"the client offers nothing for {method}")
