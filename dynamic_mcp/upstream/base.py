"""What a group needs of an upstream, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import Message


class Upstream(Protocol):
    """A connected upstream that has finished its handshake."""

    #: whether it speaks 2026-07-28 (stateless) rather than a handshake revision
    modern: bool
    #: what it declared, by capability name
    capabilities: dict[str, Raw]

    async def request(self, method: str, params: bytes, timeout: float) -> bytes:
        """Send a request and return its result; ``timeout`` in seconds. Raises UpstreamError."""
        ...

    async def lost(self) -> str:
        """Wait until the connection is gone, and say why."""
        ...

    async def close(self) -> None:
        """End the connection and everything that belongs to it. Bounded, and not cancellable."""
        ...


OnNotification = Callable[[Message], None]


class Handshake(msgspec.Struct):
    """The parts of an ``initialize`` or ``server/discover`` result that the proxy acts on."""

    capabilities: dict[str, Raw] = {}
    version: str = msgspec.field(name="protocolVersion", default="")
    supported: list[str] = msgspec.field(name="supportedVersions", default_factory=list)
