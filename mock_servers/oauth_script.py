"""The `oauth` part of a `Script`: how a protected server and its authorization server behave.

Both are well-behaved and strict by default. The resource publishes its metadata (RFC 9728) under its path and names the
metadata in the challenge. The authorization server publishes RFC 8414 metadata, requires PKCE with S256, rotates refresh
tokens, and treats a second use of one as theft. The fields below change that.

In all texts, `$issuer` stands for the issuer, and `$ISSUER` for the issuer in capital letters. `$origin` stands for the origin of the
authorization server, and `$mcp` for the MCP URL. `$path` is the path of the MCP URL in `resource_metadata`, and the path of the issuer in
`server_metadata`.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from mock_servers.script_loading import ScriptError, build

Endpoint = Literal["authorize", "token", "register", "server_metadata", "resource_metadata"]
ClientAuth = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
TokenForm = Literal["json", "json with a byte order mark", "form"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
CLIENT_AUTH: tuple[ClientAuth, ...] = get_args(ClientAuth)
TOKEN_FORMS: tuple[TokenForm, ...] = get_args(TokenForm)
CLIENT = "client-1"


@dataclass(frozen=True)
class Fault:
    """A fault of one endpoint.

    It affects the requests to the endpoint from the `nth` on, `times` of them (None = all); with `grant`, only requests of
    that grant type count. Without a `status`, the answer is correct but `delay` seconds late. With a `status`, the request
    has no effect and the answer is `body`. `cut` closes the connection without an answer.
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

    def affects(self, occurrence: int) -> bool:
        """Whether the fault affects the request number `occurrence` (1 = first)."""
        return occurrence >= self.nth and (self.times is None or occurrence < self.nth + self.times)


@dataclass(frozen=True)
class OAuth:
    """The authorization that the MCP URL requires, and the server that grants it."""

    # Addresses

    #: the authorization server has its own port; else it shares the origin of the MCP URL, where every order of
    #: discovery finds it
    own_origin: bool = False
    #: the path of the issuer, "" or "/tenant"
    issuer_path: str = ""
    #: paths at the MCP origin that serve the resource metadata; other paths answer 404
    resource_metadata: list[str] = field(
        default_factory=lambda: ["/.well-known/oauth-protected-resource$path"]
    )
    #: paths at the origin of the authorization server that serve its metadata
    server_metadata: list[str] = field(
        default_factory=lambda: ["/.well-known/oauth-authorization-server$path"]
    )
    #: members to set in these documents; null removes a member
    resource_fields: dict[str, Any] = field(default_factory=dict)
    server_fields: dict[str, Any] = field(default_factory=dict)
    #: the same for the OpenID configuration alone, after `server_fields`
    openid_fields: dict[str, Any] = field(default_factory=dict)
    #: the challenges in the WWW-Authenticate header of a 401; `$metadata` is the URL of the first resource metadata.
    #: With a wrong token, the server adds error="invalid_token" to "Bearer".
    challenges: list[str] = field(default_factory=lambda: ['Bearer resource_metadata="$metadata"'])

    # Clients

    #: public clients, which may use any path and port on a loopback address
    clients: list[str] = field(default_factory=lambda: [CLIENT])
    #: how these clients authenticate, with their secret, or with the PEM of their public key for private_key_jwt
    client_auth: ClientAuth = "none"
    client_secret: str | None = None
    client_key: str | None = None
    #: the only redirect URIs of these clients, exactly, also the port; None = any on a loopback address
    redirect_uris: list[str] | None = None
    #: grant tokens to these clients alone, without a user (RFC 6749, section 4.4)
    client_credentials: bool = False
    #: offer dynamic registration (RFC 7591)
    registration: bool = False
    #: the authentication method of registered clients; they get a secret unless it is "none"
    registered_auth: ClientAuth = "none"
    #: refuse scopes for which a registered client did not register
    registered_scopes_only: bool = False
    #: refuse a token request that has both HTTP Basic and a client id in its form, as two authentications
    basic_alone: bool = False
    #: accept https URLs as client ids (client ID metadata documents); the server does not fetch the documents
    cimd: bool = False
    #: refuse authorization and token requests that name no resource
    resource_required: bool = False
    #: refuse authorization and token requests that name a resource
    resource_refused: bool = False
    #: each session takes only the token with which its first request came
    bound_sessions: bool = False
    #: issue tokens for any resource, including resources of other servers
    any_resource: bool = False

    # Tokens

    #: `expires_in` of the first access token, the second, and so on; the last one repeats. `null` leaves the member out;
    #: the token then never expires.
    lifetimes: list[int | None] = field(default_factory=lambda: [3600])
    refresh_tokens: bool = True
    #: each use of a refresh token returns a new one and ends the old one; else the old one stays valid. The answer does not
    #: repeat it.
    rotation: bool = True
    #: issue refresh tokens only for the scope offline_access; "consent": and only with prompt=consent
    offline: Literal["", "scope", "consent"] = ""
    #: status, form and members of a token answer; a null member is left out, and a list stands in a form as its text
    token_status: int = 200
    token_form: TokenForm = "json"
    token_fields: dict[str, Any] = field(default_factory=dict)
    #: the `iss` of the authorization response (RFC 9207); null leaves it out
    iss: str | None = None
    #: the error in every authorization response, for any answer of the user
    error: str | None = None
    faults: list[Fault] = field(default_factory=list)

    #: requests that need no token, by their methods
    open_methods: list[str] = field(default_factory=list)

    # Scopes

    #: the scope that a call of each of these tools needs; without it the answer is 403 insufficient_scope. `$n` in the
    #: scope is the number of the request, so that it is another scope each time.
    tool_scopes: dict[str, str] = field(default_factory=dict)
    #: name the missing scope in this answer
    names_missing_scope: bool = True
    #: headers that every request to the origin of the MCP URL needs, except those of a browser; without them the answer is 403
    gateway: dict[str, str] = field(default_factory=dict)
    #: answer 403 for these tools even if the scope was granted
    never_enough: bool = False
    #: the MCP URL accepts every bearer token, as if another server had issued and confirmed it
    any_token: bool = False

    @classmethod
    def from_dict(cls, value: Any) -> "OAuth":
        """The `oauth` part of a script's JSON form. Raises `ScriptError`."""
        oauth = build(cls, value, "oauth")
        faults = [
            fault if isinstance(fault, Fault) else build(Fault, fault, f"oauth.faults[{i}]")
            for i, fault in enumerate(oauth.faults)
        ]
        for number, fault in enumerate(faults):
            if fault.at not in ENDPOINTS:
                raise ScriptError(
                    f"oauth.faults[{number}].at: {fault.at!r} is not one of {', '.join(ENDPOINTS)}"
                )
        if oauth.registered_auth not in CLIENT_AUTH:
            raise ScriptError(
                f"oauth.registered_auth: {oauth.registered_auth!r} is not one of {', '.join(CLIENT_AUTH)}"
            )
        if oauth.token_form not in TOKEN_FORMS:
            raise ScriptError(
                f"oauth.token_form: {oauth.token_form!r} is not one of {', '.join(TOKEN_FORMS)}"
            )
        return replace(oauth, faults=faults)
