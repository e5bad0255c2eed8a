"""What a group needs of an upstream, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import SignInNeeded, UpstreamGone
from dynamic_mcp.protocol.jsonrpc import METHOD_NOT_FOUND, Message, Refusal

OnProgress = Callable[[dict[str, Raw]], None]


class Options(msgspec.Struct, frozen=True):
    """How a request is to be made."""

    #: seconds; None waits for ever
    timeout: float | None
    #: takes the params of each progress notification; without it the request asks for none
    on_progress: OnProgress | None = None
    #: what the client behind this request can be asked for (a JSON object), and which log messages it wants
    capabilities: bytes = b"{}"
    log_level: str | None = None
    #: takes the id that the request gets on this connection
    on_id: Callable[[int], None] | None = None


class Upstream(Protocol):
    """A connection to an upstream server. ``open`` comes first, and ``close`` last, however ``open`` went."""

    @property
    def modern(self) -> bool:
        """Whether it speaks 2026-07-28 (stateless) rather than a handshake revision; after ``open``."""
        ...

    @property
    def agreed(self) -> Handshake:
        """How the server introduced itself; after ``open``."""
        ...

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """Connect and do the handshake; ``skip_probe`` where the upstream is known to be of the legacy era.

        ``timeout`` in seconds, for each request of it. Raises UpstreamError.
        """
        ...

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """Send a request and return its result. Raises UpstreamError."""
        ...

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification; lost when the connection is."""
        ...

    async def lost(self) -> UpstreamGone:
        """Wait until the connection is gone, and say why."""
        ...

    def stderr_tail(self) -> str:
        """The last lines that a child wrote to stderr; may be empty."""
        ...

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the upstream while the client does not read; read again with False."""
        ...

    async def close(self) -> None:
        """End the connection and everything that belongs to it. Bounded, not cancellable, and may be repeated."""
        ...


class Connector(Protocol):
    """Makes the connections to one configured server, and keeps what outlives them."""

    def connect(self, events: Events) -> Upstream:
        """A connection, unopened."""
        ...

    async def sign_in(self, need: SignInNeeded) -> None:
        """Have the user sign in. Raises UpstreamFailed when that does not succeed."""
        ...

    async def close(self) -> None:
        """Release what outlived the connections. Bounded, and not cancellable."""
        ...


class Events(Protocol):
    """Takes the messages that a server begins."""

    def capabilities(self) -> bytes:
        """What the client can be asked for, as the ``capabilities`` of a handshake."""
        ...

    def on_notification(self, message: Message) -> None:
        """The upstream sent a notification."""
        ...

    async def on_request(self, message: Message) -> bytes:
        """The upstream sent a request; the result for it. Raises ``jsonrpc.Refusal``."""
        ...


class NullEvents:
    """Events of a connection that only asks: notifications are dropped, requests are refused."""

    def capabilities(self) -> bytes:
        """See ``Events``."""
        return b"{}"

    def on_notification(self, message: Message) -> None:
        """See ``Events``."""

    async def on_request(self, message: Message) -> bytes:
        """See ``Events``."""
        raise Refusal(METHOD_NOT_FOUND, f"this client does not answer {message.method}")


class Handshake(msgspec.Struct):
    """The parts of an ``initialize`` or ``server/discover`` result that the proxy acts on."""

    #: by name
    capabilities: dict[str, Raw] = {}
    version: str = msgspec.field(name="protocolVersion", default="")
    supported: list[str] = msgspec.field(name="supportedVersions", default_factory=list)
    #: shown to people only, so any value is accepted. A modern server has its name and version in ``_meta``.
    instructions: Raw = Raw(b"")
    server_info: Raw = msgspec.field(name="serverInfo", default=Raw(b""))
    meta: Raw = msgspec.field(name="_meta", default=Raw(b""))
