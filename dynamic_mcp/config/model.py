"""What a loaded configuration is: immutable, validated, expanded, with its secrets hidden.

Nothing here reads a file or the environment; ``load`` builds these from what the operator wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE
from dynamic_mcp.secret import Secret


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which parts of a server are used. A part that is off is never asked for (README, "Feature Flags")."""

    tools: bool = True
    resources: bool = True
    prompts: bool = True


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds that a request may take (README, "Timeout Configuration")."""

    tools: float = 30.0
    resources: float = 10.0
    prompts: float = 10.0


class ResourceLimits(msgspec.Struct, frozen=True):
    """What a child process and its descendants may use, each of them; None where there is no limit of ours."""

    #: bytes that it may write to, or address space, as the system counts (``process.limits``)
    memory: int | None = None
    #: seconds
    cpu_time: int | None = None
    open_files: int | None = None
    #: of the user, as the operating system counts them
    processes: int | None = None


class StdioTransport(msgspec.Struct, frozen=True):
    """A child process that speaks newline-delimited JSON-RPC on its standard streams."""

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, Secret], ...]
    #: variables of the proxy's environment that the child gets, with ``*`` at the end for all that begin so; None: all of them
    environment: tuple[str, ...] | None = None
    limits: ResourceLimits = ResourceLimits()
    #: program and arguments that the command is started with
    prefix: tuple[str, ...] = ()
    #: bytes
    max_message_size: int = MAX_MESSAGE

    def __repr__(self) -> str:
        return f"StdioTransport({len(self.args)} args, env {[name for name, _ in self.env]})"


#: Where tokens are kept: in files of the user, or in the keyring of the operating system.
TokenStore = Literal["file", "keyring"]


class HttpTransport(msgspec.Struct, frozen=True):
    """A Streamable HTTP server. ``detect`` is true when the file gave no ``type``."""

    url: Secret
    headers: tuple[tuple[str, Secret], ...]
    detect: bool
    oauth_client_id: str | None
    oauth_scopes: tuple[str, ...]
    require_https: bool = False
    #: bytes
    max_message_size: int = MAX_MESSAGE
    token_store: TokenStore = "file"  # noqa: S105  # where they are kept


class SseTransport(msgspec.Struct, frozen=True):
    """A server of the HTTP+SSE transport of MCP 2024-11-05."""

    url: Secret
    headers: tuple[tuple[str, Secret], ...]
    oauth_client_id: str | None
    oauth_scopes: tuple[str, ...]
    require_https: bool = False
    #: bytes
    max_message_size: int = MAX_MESSAGE
    token_store: TokenStore = "file"  # noqa: S105  # where they are kept


class RateLimit(msgspec.Struct, frozen=True):
    """At most so many calls in any period of ``per`` seconds."""

    calls: int
    per: float


class CallRules(msgspec.Struct, frozen=True):
    """What holds for each call of a tool of one server, whoever makes it."""

    validate_arguments: bool = False
    rate_limit: RateLimit | None = None
    #: calls in flight; further ones wait
    max_concurrent_calls: int | None = None


class Audit(msgspec.Struct, frozen=True):
    """Where the audit log goes, and what it holds of the arguments of a call."""

    file: Path
    arguments: Literal["none", "digest", "value"] = "none"


class Server(msgspec.Struct, frozen=True):
    """One upstream server: a group, as the client sees it."""

    name: str
    description: str
    transport: StdioTransport | HttpTransport | SseTransport
    features: Features
    timeouts: Timeouts
    policy: CallRules = CallRules()


class Config(msgspec.Struct, frozen=True):
    """The enabled servers in the order of the file, and what the operator should be warned about."""

    servers: tuple[Server, ...]
    #: the names of the others
    switched_off: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: the same about credentials in a file that others can read: said again at each reload; empty when there is nothing to say
    exposed: str = ""
    audit: Audit | None = None
    token_store: TokenStore = "file"  # noqa: S105  # where they are kept
