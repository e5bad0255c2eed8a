"""The seams of the core: what an extra can plug in. The core works without any of it.

- ``Hooks`` stands before calls, watches them, and hears of events: audit log, traces and call policy.
- ``EarlyResponder`` has answered the client's first requests before the rest was loaded.
- The third seam is ``oauth.store.TokenStore``: where tokens are kept.

``server`` plugs in what the configuration and the environment ask for.
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
from dynamic_mcp.upstream.base import Options, Upstream
from dynamic_mcp.upstream.stdio import plain_launch


class Subject(msgspec.Struct, frozen=True):
    """What a client's call is about."""

    kind: Literal["tool", "resource", "prompt"]
    #: the group as the client named it; None where the arguments could not be read
    group: str | None
    #: the name of the tool or prompt, or the URI of the resource
    name: str | None
    #: the JSON text of the arguments, as the client wrote it
    arguments: Raw = Raw(b"")


class RequestSpan(Protocol):
    """The span of one request of the client, in a trace."""

    @property
    def context(self) -> Context:
        """The context in which the request is worked on, so that requests to upstreams belong to the same trace."""
        ...

    def answered(self, line: bytes) -> None:
        """End the span with the line of the answer."""
        ...

    def abandoned(self) -> None:
        """End the span of a request that gets no answer."""
        ...


class CallPolicy(Protocol):
    """Stands before the tool calls of one server."""

    async def call(
        self,
        tool: str,
        definition: Raw,
        args: bytes,
        options: Options,
        send: Callable[[Options], Awaitable[bytes]],
    ) -> bytes:
        """Make the call by ``send`` when the policy allows it; its result. Raises CallRefused and UpstreamError."""
        ...

    def succeed(self, other: CallPolicy) -> None:
        """Take the place of the policy of a group that is being replaced."""
        ...

    async def close(self) -> None:
        """Release what belongs to it. Bounded, not cancellable, and may be repeated."""
        ...


class Hooks:
    """What stands before a call or watches it. This class does nothing; an extra overrides what it needs."""

    def record(self, event: str, **details: object) -> None:
        """Record an event; see ``events.Record``."""

    def validate(self, config: Config) -> None:
        """Raises ConfigError for a configuration that needs an extra that is not plugged in."""
        if config.audit is not None or any(map(_needs_extras, config.servers)):
            raise ConfigError("its security settings need the extras of the proxy, which are not installed")

    def warnings(self, path: Path) -> Sequence[str]:
        """What to tell the operator about the configuration file itself."""
        return ()

    def reloaded(self, config: Config, began: float, changes: str) -> None:
        """The configuration was reloaded; it is ``config`` from now on. ``began`` is monotonic time in seconds."""

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan | None:
        """The client sent a request; ``version`` is the protocol version, None before one is agreed on."""

    def watch(self, subject: Subject, work: Callable[[], Awaitable[bytes]]) -> Awaitable[bytes]:
        """Do the work for one call of the client, and look at what comes of it."""
        return work()

    def policy(self, server: Server, current: CallPolicy | None) -> CallPolicy | None:
        """The policy for the calls of this server; ``current`` is the one of its definition before. None: every call is allowed."""

    def launch(self, transport: StdioTransport) -> Launch:
        """How the child of a server is started. Raises UpstreamFailed when it cannot be."""
        return plain_launch(transport)

    def connection(self, upstream: Upstream, server: Server) -> Upstream:
        """The connection that requests to this server are sent over."""
        return upstream

    async def close(self) -> None:
        """Hand over what is left when the proxy ends. Bounded, and not cancellable."""


def _needs_extras(server: Server) -> bool:
    transport = server.transport
    if isinstance(transport, StdioTransport):
        plain = (transport.environment, transport.limits, transport.prefix) == (None, ResourceLimits(), ())
    else:
        plain = transport.token_store == "file"  # noqa: S105  # where tokens are kept
    return not plain or server.policy != CallRules()


class EarlyResponder(Protocol):
    """Has answered the client's first requests from the configuration alone."""

    #: the configuration file as it was read
    content: bytes
    #: the lines of the client that need no answer any more, and what the client wrote after them
    answered: list[bytes]
    rest: bytes
