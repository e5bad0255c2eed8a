"""What a group needs of an upstream, for every transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import SignInNeeded, UpstreamGone
from dynamic_mcp.protocol.jsonrpc import METHOD_NOT_FOUND, Message, Refusal
from dynamic_mcp.protocol.pending import ClientCall, Options
from dynamic_mcp.sign_in_page import SignInPage

#: Seconds: if a call waited for less before its request, the request keeps the timeout of the configuration.
MIN_SPENT = 0.05


def not_started_within(seconds: float) -> str:
    """Why a start that took too long failed."""
    return f"it did not finish its start within {seconds:g} s (timeout.start)"


class Upstream(Protocol):
    """A connection to an upstream server. ``open`` comes first, and ``close`` last, even if ``open`` failed."""

    @property
    def modern(self) -> bool:
        """Whether it speaks 2026-07-28 (stateless) rather than a legacy revision. Valid after ``open``."""
        ...

    @property
    def agreed(self) -> Handshake:
        """The server's part of the handshake. Valid after ``open``."""
        ...

    @property
    def delivers_notifications(self) -> bool:
        """Whether a notification of a legacy server arrives now, also outside of requests. Valid after ``open``."""
        ...

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """Connect and do the handshake. With ``skip_probe`` it begins with ``initialize``, without a probe for the era.

        ``timeout`` in seconds is for each request of the handshake. Raises UpstreamError.
        """
        ...

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """Send a request and return its result. Raises UpstreamError."""
        ...

    def learn_tool(self, name: str, definition: Raw) -> str:
        """Note a tool of a listing. The result says why the transport cannot call the tool, and is "" if it can."""
        ...

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification. It is lost if the connection is gone."""
        ...

    async def wait_lost(self) -> UpstreamGone:
        """Wait until the connection is gone; the reason."""
        ...

    def stderr_tail(self) -> str:
        """The last lines that a child wrote to stderr; may be empty."""
        ...

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the upstream, because the client does not read; with False, read again."""
        ...

    async def close(self) -> None:
        """End the connection and everything that belongs to it. Bounded, not cancellable; a second call does nothing."""
        ...


class Connector(Protocol):
    """Makes the connections to one configured server, and owns what outlives them."""

    def connect(self, events: Events) -> Upstream:
        """A connection that is not open yet."""
        ...

    def turn(self, is_wanted: Callable[[], bool]) -> AbstractAsyncContextManager[None]:
        """The turn of a start, from before ``open`` until the upstream is usable; entering waits for it.

        ``is_wanted`` says whether a client waits for this start.
        """
        ...

    @property
    def signs_in_at_start(self) -> bool:
        """Whether the user wants to sign in before a client uses the server."""
        ...

    async def sign_in(self, need: SignInNeeded) -> None:
        """Let the user sign in. Raises UpstreamFailed if that does not succeed."""
        ...

    async def signed_in_elsewhere(self) -> None:
        """Return once the user has signed in with another process."""
        ...

    def sign_in_help(self, *, pending: bool = False) -> str:
        """What the user does to sign in, in lines of their own. Empty with ``pending`` if no sign-in waits for the user."""
        ...

    async def close(self) -> None:
        """Release what outlives the connections. Bounded, not cancellable."""
        ...


class Events(Protocol):
    """Takes the messages that a server begins."""

    def capabilities(self) -> bytes:
        """The client's capabilities for the handshake, a JSON object."""
        ...

    def client_info(self) -> bytes:
        """The client's description of itself, a JSON object; empty if it has not named itself yet."""
        ...

    def on_notification(self, message: Message) -> None:
        """Take a notification."""
        ...

    async def on_request(self, message: Message, callers: Sequence[ClientCall]) -> bytes:
        """Answer a request with a result. ``callers`` are the calls that it can belong to. Raises ``jsonrpc.Refusal``."""
        ...

    def on_sign_in(self, page: SignInPage) -> bool:
        """Let the client show the page to the user; false if it cannot."""
        ...

    def on_new_session(self) -> None:
        """Note that the server has begun again on this connection: it has no subscription, no log level, and perhaps other lists."""
        ...

    def on_stream_open(self) -> None:
        """Note that ``Upstream.delivers_notifications`` became true, and that what the server announced before may be lost."""
        ...

    def on_oddity(self, what: str) -> None:
        """Note what the server does against the protocol. The text contains nothing that the server sent."""
        ...


class NullEvents:
    """Drops notifications and refuses requests."""

    def capabilities(self) -> bytes:
        return b"{}"

    def client_info(self) -> bytes:
        return b""

    def on_notification(self, message: Message) -> None:
        """Drop it."""

    async def on_request(self, message: Message, callers: Sequence[ClientCall]) -> bytes:
        raise Refusal(METHOD_NOT_FOUND, f"this client does not answer {message.method}")

    def on_sign_in(self, page: SignInPage) -> bool:
        return False

    def on_new_session(self) -> None:
        """Drop it."""

    def on_stream_open(self) -> None:
        """Drop it."""

    def on_oddity(self, what: str) -> None:
        """Drop it."""


class Handshake(msgspec.Struct):
    """The parts of an ``initialize`` or ``server/discover`` result that the proxy acts on."""

    #: by name
    capabilities: dict[str, Raw] = {}
    version: str = msgspec.field(name="protocolVersion", default="")
    supported: list[str] = msgspec.field(name="supportedVersions", default_factory=list)
    #: for display only, so any value is valid; a modern server has its name and version in ``_meta``
    instructions: Raw = Raw(b"")
    server_info: Raw = msgspec.field(name="serverInfo", default=Raw(b""))
    meta: Raw = msgspec.field(name="_meta", default=Raw(b""))
