"""How a protected upstream and its authorization server behave: the `oauth` part of a `Script`.

Well-behaved and strict by default: the resource publishes its metadata (RFC 9728) under its path and names it
in the challenge, the authorization server publishes RFC 8414 metadata, wants PKCE with
S256, rotates refresh tokens and takes a second use of one for theft. What is wrong is said here.

In all texts `$issuer` is the issuer, `$ISSUER` the same in capital letters, `$origin` the origin of the
authorization server, `$mcp` the MCP URL, `$path` the path of the MCP URL (in `resource_metadata`) or of the issuer
(in `server_metadata`).
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Endpoint = Literal["authorize", "token", "register", "server_metadata", "resource_metadata"]
ClientAuth = Literal["none", "client_secret_basic", "client_secret_post"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
CLIENT_AUTH: tuple[ClientAuth, ...] = get_args(ClientAuth)
CLIENT = "client-1"


@dataclass(frozen=True)
class Fault:
    """What an endpoint does in place of, or before, its answer.

    Of the requests to the endpoint (with this `grant` type, if named) it meets those from the `nth` on, `times`
    of them (None = all). Without a `status` the answer is the proper one, `delay` seconds late. With one the
    request has no effect, and the answer is `body`. `cut` closes the connection without any answer.
    """

    at: Endpoint
    grant: str | None = None
    nth: int = 1
    times: int | None = None
    delay: float = 0.0
    status: int | None = None
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False

    def meets(self, occurrence: int) -> bool:
        """Is the request that came as the `occurrence`-th (1 = first) met?"""
        return occurrence >= self.nth and (self.times is None or occurrence < self.nth + self.times)


@dataclass(frozen=True)
class OAuth:
    """The lock on the MCP URL and who has the keys."""

    # Where things are

    #: the authorization server has a port of its own; else it is on the origin of the MCP URL, where every
    #: order of discovery finds it
    own_origin: bool = False
    #: the path of the issuer, "" or "/tenant"
    issuer_path: str = ""
    #: paths at the MCP origin where the resource metadata is; the others are 404
    resource_metadata: list[str] = field(
        default_factory=lambda: ["/.well-known/oauth-protected-resource$path"]
    )
    #: paths at the origin of the authorization server where its metadata is
    server_metadata: list[str] = field(
        default_factory=lambda: ["/.well-known/oauth-authorization-server$path"]
    )
    #: what is put into these documents; null removes a member
    resource_fields: dict[str, Any] = field(default_factory=dict)
    server_fields: dict[str, Any] = field(default_factory=dict)
    #: the WWW-Authenticate headers of a 401; `$metadata` is the URL of the first resource metadata. With a
    #: wrong token, error="invalid_token" is added to "Bearer".
    challenges: list[str] = field(default_factory=lambda: ['Bearer resource_metadata="$metadata"'])

    # Who may come

    #: public clients that may use any path and port on a loopback address
    clients: list[str] = field(default_factory=lambda: [CLIENT])
    #: offer dynamic registration (RFC 7591); its clients get a secret with this authentication method
    registration: bool = False
    registered_auth: ClientAuth = "none"
    #: accept https URLs as client ids (client ID metadata documents, which are not fetched)
    cimd: bool = False
    #: refuse requests to authorize and for tokens that name no resource
    resource_required: bool = False
    #: give tokens for every resource that is named, also for those of other servers
    any_resource: bool = False

    # What they get

    #: `expires_in` of the first access token, the second, ...; null = none is said and it lives for ever.
    #: The last one repeats.
    lifetimes: list[int | None] = field(default_factory=lambda: [3600])
    refresh_tokens: bool = True
    #: each use of a refresh token gives a new one and ends the old; else the old one stays and is not repeated
    rotation: bool = True
    #: the `iss` of the authorization response (RFC 9207); null = none
    iss: str | None = None
    #: the authorization response says this error, whatever the user wants
    error: str | None = None
    faults: list[Fault] = field(default_factory=list)

    # What a token opens

    #: a call of this tool needs this scope, else 403 insufficient_scope
    tool_scopes: dict[str, str] = field(default_factory=dict)
    #: these tools are refused with 403 even where the scope was granted
    never_enough: bool = False
    #: the MCP URL takes every bearer, as if another server had issued it and vouched for it
    any_token: bool = False
