"""The interfaces between the core and its extras. The core works without any extra.

- ``Hooks`` checks and watches calls, and records events, for the call policy, the traces and the audit log.
- ``EarlyResponder`` answers the first requests of the client while the rest of the proxy loads.
- ``oauth.store.TokenStore`` stores tokens.

``server`` plugs in the extras that the configuration and the environment ask for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import CallRules, Config, ResourceLimits, Server, StdioTransport
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.process.child import Launch
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.upstream.stdio import plain_launch


class Subject(msgspec.Struct, frozen=True):
    """The subject of a client's call."""

    kind: Literal["tool", "resource", "prompt"]
    #: the group in the call; None if the arguments are unreadable
    group: str | None
    #: the name of the tool or prompt, or the URI of the resource
    name: str | None
    #: the JSON text of the arguments, as the client wrote it
    arguments: Raw = Raw(b"")


class RequestSpan(Protocol):
    """The span of one request of the client in a trace."""

    @property
    def context(self) -> Context:
        """The context for the work on the request, so that requests to upstreams belong to the same trace."""
        ...

    def finish(self, line: bytes) -> None:
        """End the span with the answer."""
        ...

    def abandon(self) -> None:
        """End the span without an answer."""
        ...


class CallPolicy(Protocol):
    """Checks the tool calls of one server."""

    async def call(
        self,
        tool: str,
        definition: Raw,
        args: bytes,
        options: Options,
        send: Callable[[Options], Awaitable[bytes]],
    ) -> bytes:
        """Make the call with ``send`` if the policy allows it; the result. Raises CallRefused and UpstreamError."""
        ...

    def inherit(self, other: CallPolicy) -> None:
        """Take over the state of the policy of a replaced group."""
        ...

    async def close(self) -> None:
        """Release all resources. Bounded, not cancellable; a second call does nothing."""
        ...


class Hooks:
    """The hooks of a core without extras: they add nothing, and refuse a configuration that needs an extra.

    An extra overrides the methods that it needs.
    """

    def record(self, event: str, **details: object) -> None:
        """Record an event; see ``events.Record``."""

    def validate(self, config: Config) -> None:
        """Raises ConfigError for a configuration that needs an extra that is not plugged in."""
        if config.audit is not None or any(map(_needs_extras, config.servers)):
            raise ConfigError("the security settings need the extras of the proxy, which are not installed")

    def warnings(self, path: Path) -> Sequence[str]:
        """Warnings for the operator about the configuration file itself."""
        return ()

    def reloaded(self, config: Config, began: float, changes: str) -> None:
        """Note that ``config`` is the configuration from now on. ``began`` is monotonic time in seconds."""

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan | None:
        """Start the span of a client's request. ``version`` is the protocol version; None before the negotiation."""

    def watch(self, subject: Subject, work: Callable[[], Awaitable[bytes]]) -> Awaitable[bytes]:
        """Do the work for one call of the client, and watch its outcome."""
        return work()

    def policy(self, server: Server, current: CallPolicy | None) -> CallPolicy | None:
        """The policy for the calls of this server; None allows every call. ``current`` is the policy of its previous definition."""

    def launch(self, transport: StdioTransport) -> Launch:
        """How to start the child of a server. Raises UpstreamFailed."""
        return plain_launch(transport)

    def connection(self, upstream: Upstream, server: Server) -> Upstream:
        """The upstream for the requests to this server; an extra may wrap it."""
        return upstream

    async def close(self) -> None:
        """Finish at the end of the proxy. Bounded, not cancellable."""


def _needs_extras(server: Server) -> bool:
    transport = server.transport
    if isinstance(transport, StdioTransport):
        plain = (transport.environment, transport.limits, transport.prefix) == (None, ResourceLimits(), ())
    else:
        plain = transport.token_store == "file"  # noqa: S105  # where tokens are kept
    return not plain or server.policy != CallRules()


class EarlyResponder(Protocol):
    """Has answered the first requests of the client from the configuration alone."""

    #: the content of the configuration file
    content: bytes
    #: the lines of the client that have their answers, and the bytes after them
    answered: list[bytes]
    rest: bytes
