"""A loaded configuration: immutable, validated, expanded, with hidden secrets. ``load`` builds it from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.secret import Secret


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of a server in use. The proxy never requests a part that is off (dynamic-mcp README.md, "Feature Flags")."""

    tools: bool = True
    resources: bool = True
    prompts: bool = True


class ToolRules(msgspec.Struct, frozen=True):
    """The tools of a server in use, by names and patterns; ``deny`` wins. ``groups.tool_filter`` applies them."""

    #: None allows every tool, an empty list allows none
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds that a request may take (dynamic-mcp README.md, "Timeout Configuration"), and the start of the server."""

    tools: float = 30.0
    resources: float = 10.0
    prompts: float = 10.0
    #: from its turn until the list of tools is known; the first start by ``npx`` or ``uvx`` downloads the server
    start: float = 300.0
    #: how long a list of all groups waits for the part of this server
    lists: float = 2.0


#: The ``start`` of a server behind a URL. A new request may reach another machine, so it is worth more than patience.
REMOTE_START = 60.0


class ResourceLimits(msgspec.Struct, frozen=True):
    """Limits for a child process and for each of its descendants; None for no limit."""

    #: bytes of data or of address space, depending on the system (``extras.hardening.limits``)
    memory: int | None = None
    #: seconds
    cpu_time: int | None = None
    open_files: int | None = None
    #: all processes of the user count, as the operating system does it
    processes: int | None = None


class StdioTransport(msgspec.Struct, frozen=True):
    """A child process that exchanges lines of JSON-RPC on its standard streams."""

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, Secret], ...]
    #: the folder to start in, in full; None for that of the proxy
    cwd: str | None = None
    #: variables of the proxy's environment that the child gets; ``*`` at the end matches any rest; None means all variables
    environment: tuple[str, ...] | None = None
    limits: ResourceLimits = ResourceLimits()
    #: the program and arguments before the command
    prefix: tuple[str, ...] = ()
    #: bytes
    max_message_size: int = MAX_MESSAGE

    def __repr__(self) -> str:
        return f"StdioTransport({len(self.args)} args, env {[name for name, _ in self.env]})"

    def hidden(self) -> HiddenValues:
        """The values that the last words of the server must not show."""
        values = (*_revealed(self.env), *self.args, *self.prefix[1:])
        return HiddenValues(values, programs=(self.command, *self.prefix[:1]))


#: The storage of tokens: files of the user, or the keyring of the operating system.
TokenStoreKind = Literal["file", "keyring"]


class SigningKey(msgspec.Struct, frozen=True):
    """The private key of a client (``private_key_jwt``): its PEM text, or the file with it."""

    pem: Secret | None = None
    file: str | None = None
    #: as in RFC 7518, section 3.1; None for the usual one of the key
    algorithm: str | None = None
    key_id: str | None = None


class OAuthSettings(msgspec.Struct, frozen=True):
    """The ``oauth`` table of a server, without the client id, the scopes and the hosts."""

    client_secret: Secret | None = None
    key: SigningKey | None = None
    #: "client_credentials" for a machine without a person
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    #: the registered address of the callback on this machine; without a port, any port
    redirect_uri: str | None = None
    #: whether requests name the resource (RFC 8707), or another name for it
    resource: bool | str = True
    #: more parameters of the authorization request
    parameters: tuple[tuple[str, str], ...] = ()
    #: the authorization server; None for the one that the resource names
    issuer: str | None = None
    #: whether PKCE is used with a server that does not say that it supports PKCE
    assume_pkce: bool = False

    @property
    def is_machine(self) -> bool:
        """Whether no person takes part."""
        return self.grant == "client_credentials"

    def secrets(self) -> tuple[str, ...]:
        """The values that no text may show."""
        pem = None if self.key is None else self.key.pem
        return tuple(secret.reveal() for secret in (self.client_secret, pem) if secret is not None)


class RemoteTransport(msgspec.Struct, frozen=True):
    """A server behind a URL."""

    url: Secret
    headers: tuple[tuple[str, Secret], ...] = ()
    oauth_client_id: str | None = None
    oauth_scopes: tuple[str, ...] = ()
    #: "http" for Streamable HTTP, or "sse" for HTTP+SSE of MCP 2024-11-05; None if the proxy finds out which one the server speaks
    kind: str | None = None
    require_https: bool = False
    #: bytes
    max_message_size: int = MAX_MESSAGE
    token_store: TokenStoreKind = "file"  # noqa: S105  # where they are kept
    #: hosts at private addresses to which the server may lead (``oauth.reach``)
    oauth_private_hosts: tuple[str, ...] = ()
    oauth: OAuthSettings = OAuthSettings()
    #: sign in when the proxy starts, rather than when a client uses the server
    oauth_at_start: bool = False

    def hidden(self) -> HiddenValues:
        """The values that the last words of the server must not show."""
        return HiddenValues((self.url.reveal(), *_revealed(self.headers), *self.oauth.secrets()))


def _revealed(pairs: tuple[tuple[str, Secret], ...]) -> Iterator[str]:
    return (value.reveal() for _, value in pairs)


class RateLimit(msgspec.Struct, frozen=True):
    """At most ``calls`` calls in any period of ``per`` seconds."""

    calls: int
    per: float


class CallRules(msgspec.Struct, frozen=True):
    """The policy for the calls of the tools of one server."""

    validate_arguments: bool = False
    rate_limit: RateLimit | None = None
    #: calls in flight; further ones wait
    max_concurrent_calls: int | None = None


class Audit(msgspec.Struct, frozen=True):
    """The file of the audit log, and what the log contains of the arguments of a call."""

    file: Path
    arguments: Literal["none", "digest", "value"] = "none"


#: Bytes of the definitions of a group that a client gets at once. Clients cut results after 8,000 characters, or earlier.
MAX_LISTING_SIZE = 6_000


class Server(msgspec.Struct, frozen=True):
    """One upstream server, which the client sees as a group."""

    name: str
    description: str
    transport: StdioTransport | RemoteTransport
    features: Features
    timeouts: Timeouts
    policy: CallRules = CallRules()
    #: bytes; a larger group is listed with names and short descriptions
    max_listing_size: int = MAX_LISTING_SIZE
    #: bytes of one message to a client; None for the default of its transport (``frontend.session``)
    max_answer_size: int | None = None
    tools: ToolRules = ToolRules()
    #: whether several clients use one process, or one session, of the server (``frontend.clients``)
    shared: bool = True


class Config(msgspec.Struct, frozen=True):
    """The enabled servers in the order of the file, and warnings for the operator."""

    servers: tuple[Server, ...]
    #: the names of the disabled servers
    switched_off: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    audit: Audit | None = None
    token_store: TokenStoreKind = "file"  # noqa: S105  # where they are kept
