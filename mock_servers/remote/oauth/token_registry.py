"""The clients, codes and tokens of the authorization server, and the checks before it issues more of them.

The registry is as strict as RFC 6749, RFC 7636, RFC 8252 and RFC 8707 allow. A code works once; a second use revokes the
tokens that it brought. The registry recomputes PKCE challenges. It compares redirect URIs exactly, except for the port of a
loopback address. A second use of a rotated refresh token revokes its whole family.
"""

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mock_servers.oauth_script import OAuth
from mock_servers.remote.oauth.client_proofs import ClientProofs

Params = dict[str, str]
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK = ("127.0.0.1", "::1")


class OAuthRefusal(Exception):
    """The server refuses the request with this error code. `redirects`: the redirect to the client may carry the error."""

    def __init__(self, error: str, reason: str, *, redirects: bool = True) -> None:
        super().__init__(f"{error}: {reason}")
        self.error = error
        self.reason = reason
        self.redirects = redirects


@dataclass
class OAuthClient:
    """A client. Without `redirect_uris`, every loopback address is valid."""

    id: str
    redirect_uris: list[str] | None = None
    auth: str = "none"
    secret: str | None = None
    #: the scopes for which it may ask; None = any
    scopes: list[str] | None = None


@dataclass
class TokenFamily:
    """All tokens that come from one authorization."""

    client: str
    scopes: list[str]
    resource: str | None
    revoked: bool = False
    consented: bool = False


@dataclass
class _AuthorizationCode:
    family: TokenFamily
    redirect_uri: str
    challenge: str
    used: bool = False


@dataclass
class _AccessToken:
    family: TokenFamily
    ends: float | None
    revoked: bool = False


@dataclass
class _RefreshToken:
    family: TokenFamily
    used: bool = False


@dataclass
class TokenRegistry:
    """Everything that the authorization server stores; `resources` are the identifiers of the resources that it knows."""

    oauth: OAuth
    resources: list[str] = field(default_factory=list)
    clients: dict[str, OAuthClient] = field(default_factory=dict)
    codes: dict[str, _AuthorizationCode] = field(default_factory=dict)
    access: dict[str, _AccessToken] = field(default_factory=dict)
    refresh: dict[str, _RefreshToken] = field(default_factory=dict)
    #: no token is valid, not even a new one
    closed: bool = False
    #: the time of the monotonic clock until which no access token is valid
    refused_until: float = 0.0
    #: for whom the proof of a client may be
    audiences: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = self.oauth.redirect_uris, self.oauth.client_auth, self.oauth.client_secret
        self.clients |= {name: OAuthClient(name, *given) for name in self.oauth.clients}
        self._proofs = ClientProofs(self.oauth.client_key)

    # Authorization

    def authorize(self, params: Params) -> str:
        """The code for an authorization request. Raises `OAuthRefusal`."""
        client = self._client(params.get("client_id", ""))
        is_exact = client.id in self.oauth.clients
        _check_redirect(client, params.get("redirect_uri", ""), is_exact=is_exact)
        if params.get("response_type") != "code":
            raise OAuthRefusal("unsupported_response_type", f"{params.get('response_type')!r}")
        if params.get("code_challenge_method") != "S256":
            raise OAuthRefusal(
                "invalid_request", f"code_challenge_method {params.get('code_challenge_method')!r}"
            )
        challenge = params.get("code_challenge", "")
        if not CHALLENGE.fullmatch(challenge):
            raise OAuthRefusal("invalid_request", f"code_challenge {challenge!r}")
        if params.get("scope") == "":
            raise OAuthRefusal("invalid_scope", "an empty scope")
        self._check_scopes(client, params)
        resource = self._resource(params)
        family = TokenFamily(client.id, params.get("scope", "").split(), resource)
        family.consented = params.get("prompt") == "consent"
        # These characters survive only in a correctly form-encoded body.
        code = f"a+b/c=&d.{secrets.token_hex(8)}"
        self.codes[code] = _AuthorizationCode(family, params["redirect_uri"], challenge)
        return code

    def _client(self, name: str) -> OAuthClient:
        known = self.clients.get(name)
        if known is None and self.oauth.cimd and name.startswith("https://") and urlsplit(name).path:
            known = self.clients[name] = OAuthClient(name)
        if known is None:
            raise OAuthRefusal("invalid_client", f"unknown client {name!r}", redirects=False)
        return known

    def _resource(self, params: Params) -> str | None:
        resource = params.get("resource")
        if resource is not None and self.oauth.resource_refused:
            raise OAuthRefusal("invalid_request", "AADSTS901002: no parameter 'resource', please")
        if resource is None and self.oauth.resource_required:
            raise OAuthRefusal("invalid_target", "no resource")
        if resource is not None and resource not in self.resources and not self.oauth.any_resource:
            raise OAuthRefusal("invalid_target", f"resource {resource!r} is not one of {self.resources}")
        return resource

    # Tokens

    def exchange(self, params: Params, basic: tuple[str, str] | None) -> dict[str, Any]:
        """The answer to a token request. Raises `OAuthRefusal`."""
        client = self._authenticated(params, basic)
        match params.get("grant_type"):
            case "authorization_code":
                return self._take_code(client, params)
            case "refresh_token":
                return self._take_refresh(client, params)
            case "client_credentials" if self.oauth.client_credentials and client.auth != "none":
                family = TokenFamily(client.id, params.get("scope", "").split(), self._resource(params))
                return self._issue(family, with_refresh=False)
            case other:
                raise OAuthRefusal("unsupported_grant_type", f"{other!r}")

    def _authenticated(self, params: Params, basic: tuple[str, str] | None) -> OAuthClient:
        client = self._client(basic[0] if basic else params.get("client_id", ""))
        if client.auth == "private_key_jwt":
            if problem := self._proofs.problem_of(params, client.id, self.audiences):
                raise OAuthRefusal("invalid_client", problem)
            return client
        if basic and params.get("client_id", client.id) != client.id:
            raise OAuthRefusal("invalid_client", "two client ids")
        if basic and "client_id" in params and self.oauth.basic_alone:
            raise OAuthRefusal("invalid_request", "two authentications")
        if basic is not None:
            method, secret = "client_secret_basic", basic[1]
        else:
            method = "client_secret_post" if "client_secret" in params else "none"
            secret = params.get("client_secret", "")
        if method != client.auth or secret != (client.secret or ""):
            raise OAuthRefusal("invalid_client", f"{method} instead of {client.auth}, or a wrong secret")
        return client

    def _take_code(self, client: OAuthClient, params: Params) -> dict[str, Any]:
        code = self.codes.get(params.get("code", ""))
        if code is None or code.family.client != client.id:
            raise OAuthRefusal("invalid_grant", "unknown code, or a code of another client")
        if code.used:
            code.family.revoked = True
            raise OAuthRefusal("invalid_grant", "the code was used before")
        code.used = True
        # OAuth 2.1 section 10.2 has no such parameter here, because PKCE protects the code.
        if params.get("redirect_uri", code.redirect_uri) != code.redirect_uri:
            raise OAuthRefusal("invalid_grant", f"redirect_uri {params.get('redirect_uri')!r}")
        verifier = params.get("code_verifier", "")
        if not VERIFIER.fullmatch(verifier) or challenge_of(verifier) != code.challenge:
            raise OAuthRefusal("invalid_grant", "the code_verifier does not match the challenge")
        if self._resource(params) not in (None, code.family.resource):
            raise OAuthRefusal("invalid_target", "not the resource of the authorization request")
        return self._issue(code.family, with_refresh=self._may_refresh(code.family))

    def _may_refresh(self, family: TokenFamily) -> bool:
        if self.oauth.offline and "offline_access" not in family.scopes:
            return False
        return self.oauth.refresh_tokens and (self.oauth.offline != "consent" or family.consented)

    def _check_scopes(self, client: OAuthClient, params: Params) -> None:
        wanted = set(params.get("scope", "").split())
        if client.scopes is not None and not wanted <= set(client.scopes):
            raise OAuthRefusal("invalid_scope", f"the client registered for {client.scopes}")

    def _take_refresh(self, client: OAuthClient, params: Params) -> dict[str, Any]:
        token = self.refresh.get(params.get("refresh_token", ""))
        if token is None or token.family.client != client.id:
            raise OAuthRefusal("invalid_grant", "unknown refresh token, or a token of another client")
        if token.used:
            token.family.revoked = True
            raise OAuthRefusal("invalid_grant", "the refresh token was used before: theft")
        if token.family.revoked:
            raise OAuthRefusal("invalid_grant", "the grant was revoked")
        if self._resource(params) not in (None, token.family.resource):
            raise OAuthRefusal("invalid_target", "not the resource of the authorization request")
        if not set(params.get("scope", "").split()) <= set(token.family.scopes):
            raise OAuthRefusal("invalid_scope", "more scopes than the grant has")
        token.used = self.oauth.rotation
        return self._issue(token.family, with_refresh=self.oauth.rotation)

    def _issue(self, family: TokenFamily, *, with_refresh: bool) -> dict[str, Any]:
        number = len(self.access)
        lifetime = self.oauth.lifetimes[min(number, len(self.oauth.lifetimes) - 1)]
        access = f"access-{number + 1}-{secrets.token_hex(8)}"
        ends = None if lifetime is None else time.monotonic() + lifetime
        self.access[access] = _AccessToken(family, ends)
        answer: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if lifetime is not None:
            answer["expires_in"] = lifetime
        if with_refresh:
            answer["refresh_token"] = f"refresh-{len(self.refresh) + 1}-{secrets.token_hex(8)}"
            self.refresh[answer["refresh_token"]] = _RefreshToken(family)
        if family.scopes:
            answer["scope"] = " ".join(family.scopes)
        return answer

    # Registration

    def register(self, params: dict[str, Any]) -> dict[str, Any]:
        """The answer to a registration. Raises `OAuthRefusal`."""
        uris = params.get("redirect_uris")
        if not isinstance(uris, list) or not uris:
            raise OAuthRefusal("invalid_redirect_uri", f"redirect_uris {uris!r}")
        for uri in uris:
            parts = urlsplit(str(uri))
            if parts.scheme != "https" and parts.hostname not in (*_LOOPBACK, "localhost"):
                raise OAuthRefusal("invalid_redirect_uri", f"{uri!r}")
        method = self.oauth.registered_auth
        secret = None if method == "none" else f"secret-{secrets.token_hex(8)}"
        name = f"registered-{len(self.clients) + 1}-{secrets.token_hex(4)}"
        scopes = str(params.get("scope", "")).split() if self.oauth.registered_scopes_only else None
        self.clients[name] = OAuthClient(name, uris, method, secret, scopes)
        answer = {**params, "client_id": name, "token_endpoint_auth_method": method}
        return (
            answer if secret is None else {**answer, "client_secret": secret, "client_secret_expires_at": 0}
        )

    # Validity

    def scopes_of(self, token: str) -> list[str] | None:
        """The scopes of an access token; None if the token is not valid."""
        known = self.access.get(token)
        if known is None or known.revoked or known.family.revoked or self.closed:
            return None
        if time.monotonic() < self.refused_until:
            return None
        return None if known.ends is not None and time.monotonic() >= known.ends else known.family.scopes

    def refuse_access(self, seconds: float) -> None:
        """Refuse every access token for this time, and revoke none."""
        self.refused_until = time.monotonic() + seconds

    def revoke_access(self, *, all_later: bool = False) -> None:
        """Revoke every access token issued so far; with `all_later`, every future one too."""
        self.closed |= all_later
        for token in self.access.values():
            token.revoked = True


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _check_redirect(client: OAuthClient, uri: str, *, is_exact: bool) -> None:
    parts = urlsplit(uri)
    host, is_valid = parts.hostname, parts.scheme == "http" and not parts.fragment and not parts.username
    if client.redirect_uris is None:
        is_valid = is_valid and host in (*_LOOPBACK, "localhost")
    elif uri in client.redirect_uris:
        is_valid = True
    elif is_exact:
        is_valid = False
    else:
        # RFC 8252, section 7.3: any port is valid for a loopback address, but not for a name such as localhost.
        is_valid = (
            is_valid and host in _LOOPBACK and _without_port(uri) in map(_without_port, client.redirect_uris)
        )
    if not is_valid:
        raise OAuthRefusal("invalid_request", f"redirect_uri {uri!r} is not registered", redirects=False)


def _without_port(uri: str) -> tuple[str, str | None, str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.path, parts.query
