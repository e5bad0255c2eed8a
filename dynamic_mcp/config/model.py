"""What a loaded configuration is: immutable, validated, expanded, with its secrets hidden.

Nothing here reads a file or the environment; ``load`` builds these from what the operator wrote.
"""

from __future__ import annotations

import msgspec

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


class StdioTransport(msgspec.Struct, frozen=True):
    """A child process that speaks newline-delimited JSON-RPC on its standard streams."""

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, Secret], ...]

    def __repr__(self) -> str:
        return f"StdioTransport({len(self.args)} args, env {[name for name, _ in self.env]})"


class HttpTransport(msgspec.Struct, frozen=True):
    """A Streamable HTTP server. ``detect`` is true when the file gave no ``type``."""

    url: Secret
    headers: tuple[tuple[str, Secret], ...]
    detect: bool
    oauth_client_id: str | None
    oauth_scopes: tuple[str, ...]


class SseTransport(msgspec.Struct, frozen=True):
    """A server of the HTTP+SSE transport of MCP 2024-11-05."""

    url: Secret
    headers: tuple[tuple[str, Secret], ...]
    oauth_client_id: str | None
    oauth_scopes: tuple[str, ...]


class Server(msgspec.Struct, frozen=True):
    """One upstream server: a group, as the client sees it."""

    name: str
    description: str
    transport: StdioTransport | HttpTransport | SseTransport
    features: Features
    timeouts: Timeouts


class Config(msgspec.Struct, frozen=True):
    """The enabled servers in the order of the file, and what the operator should be warned about."""

    servers: tuple[Server, ...]
    warnings: tuple[str, ...] = ()
