"""Clients, codes and tokens: who was given what, whether it is still good, and the checks before more is given.

Strict as RFC 6749, 7636, 8252 and 8707 allow a server to be: a code works once (a second use ends what it
brought), PKCE is recomputed here, redirect URIs are compared exactly but for the port of a loopback address, a
refresh token that was rotated away and comes again ends its whole family.
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

Params = dict[str, str]
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_LOOPBACK = ("127.0.0.1", "::1")


class Refusal(Exception):
    """The request is refused with this error code. `redirects` = the client may be told by a redirect."""

    def __init__(self, error: str, why: str, *, redirects: bool = True) -> None:
        super().__init__(f"{error}: {why}")
        self.error = error
        self.why = why
        self.redirects = redirects


@dataclass
class Client:
    """A client; without `redirect_uris` any loopback address is one."""

    id: str
    redirect_uris: list[str] | None = None
    auth: str = "none"
    secret: str | None = None


@dataclass
class Family:
    """All tokens that come from one authorization."""

    client: str
    scopes: list[str]
    resource: str | None
    revoked: bool = False


@dataclass
class _Code:
    family: Family
    redirect_uri: str
    challenge: str
    used: bool = False


@dataclass
class _Access:
    family: Family
    ends: float | None
    revoked: bool = False


@dataclass
class _Refresh:
    family: Family
    used: bool = False


@dataclass
class Ledger:
    """The memory of the authorization server; `resources` are the identifiers that it knows."""

    oauth: OAuth
    resources: list[str] = field(default_factory=list)
    clients: dict[str, Client] = field(default_factory=dict)
    codes: dict[str, _Code] = field(default_factory=dict)
    access: dict[str, _Access] = field(default_factory=dict)
    refresh: dict[str, _Refresh] = field(default_factory=dict)
    #: no token is good any more, whatever it is
    closed: bool = False

    def __post_init__(self) -> None:
        self.clients |= {name: Client(name) for name in self.oauth.clients}

    # Authorization

    def authorize(self, asked: Params) -> str:
        """The code for a request that is in order."""
        client = self._client(asked.get("client_id", ""))
        _check_redirect(client, asked.get("redirect_uri", ""))
        if asked.get("response_type") != "code":
            raise Refusal("unsupported_response_type", f"{asked.get('response_type')!r}")
        if asked.get("code_challenge_method") != "S256":
            raise Refusal("invalid_request", f"code_challenge_method {asked.get('code_challenge_method')!r}")
        challenge = asked.get("code_challenge", "")
        if not CHALLENGE.fullmatch(challenge):
            raise Refusal("invalid_request", f"code_challenge {challenge!r}")
        if asked.get("scope") == "":
            raise Refusal("invalid_scope", "an empty scope")
        resource = self._resource(asked)
        family = Family(client.id, asked.get("scope", "").split(), resource)
        # Characters that only a form-encoded body brings back whole.
        code = f"a+b/c=&d.{secrets.token_hex(8)}"
        self.codes[code] = _Code(family, asked["redirect_uri"], challenge)
        return code

    def _client(self, name: str) -> Client:
        known = self.clients.get(name)
        if known is None and self.oauth.cimd and name.startswith("https://") and urlsplit(name).path:
            known = self.clients[name] = Client(name)
        if known is None:
            raise Refusal("invalid_client", f"unknown client {name!r}", redirects=False)
        return known

    def _resource(self, asked: Params) -> str | None:
        resource = asked.get("resource")
        if resource is None and self.oauth.resource_required:
            raise Refusal("invalid_target", "no resource")
        if resource is not None and resource not in self.resources and not self.oauth.any_resource:
            raise Refusal("invalid_target", f"resource {resource!r} is none of {self.resources}")
        return resource

    # Tokens

    def exchange(self, asked: Params, basic: tuple[str, str] | None) -> dict[str, Any]:
        """The answer to a token request."""
        client = self._authenticated(asked, basic)
        match asked.get("grant_type"):
            case "authorization_code":
                return self._take_code(client, asked)
            case "refresh_token":
                return self._take_refresh(client, asked)
            case other:
                raise Refusal("unsupported_grant_type", f"{other!r}")

    def _authenticated(self, asked: Params, basic: tuple[str, str] | None) -> Client:
        client = self._client(basic[0] if basic else asked.get("client_id", ""))
        if basic and asked.get("client_id", client.id) != client.id:
            raise Refusal("invalid_client", "two client ids")
        if basic is not None:
            method, secret = "client_secret_basic", basic[1]
        else:
            method = "client_secret_post" if "client_secret" in asked else "none"
            secret = asked.get("client_secret", "")
        if method != client.auth or secret != (client.secret or ""):
            raise Refusal("invalid_client", f"{method} in place of {client.auth}, or a wrong secret")
        return client

    def _take_code(self, client: Client, asked: Params) -> dict[str, Any]:
        code = self.codes.get(asked.get("code", ""))
        if code is None or code.family.client != client.id:
            raise Refusal("invalid_grant", "unknown code, or that of another client")
        if code.used:
            code.family.revoked = True
            raise Refusal("invalid_grant", "the code was used before")
        code.used = True
        if asked.get("redirect_uri") != code.redirect_uri:
            raise Refusal("invalid_grant", f"redirect_uri {asked.get('redirect_uri')!r}")
        verifier = asked.get("code_verifier", "")
        if not VERIFIER.fullmatch(verifier) or challenge_of(verifier) != code.challenge:
            raise Refusal("invalid_grant", "the code_verifier does not fit the challenge")
        if self._resource(asked) not in (None, code.family.resource):
            raise Refusal("invalid_target", "another resource than in the authorization request")
        return self._issue(code.family, with_refresh=self.oauth.refresh_tokens)

    def _take_refresh(self, client: Client, asked: Params) -> dict[str, Any]:
        token = self.refresh.get(asked.get("refresh_token", ""))
        if token is None or token.family.client != client.id:
            raise Refusal("invalid_grant", "unknown refresh token, or that of another client")
        if token.used:
            token.family.revoked = True
            raise Refusal("invalid_grant", "the refresh token was used before: theft")
        if token.family.revoked:
            raise Refusal("invalid_grant", "the grant was revoked")
        if self._resource(asked) not in (None, token.family.resource):
            raise Refusal("invalid_target", "another resource than in the authorization request")
        if not set(asked.get("scope", "").split()) <= set(token.family.scopes):
            raise Refusal("invalid_scope", "more than was granted")
        token.used = self.oauth.rotation
        return self._issue(token.family, with_refresh=self.oauth.rotation)

    def _issue(self, family: Family, *, with_refresh: bool) -> dict[str, Any]:
        number = len(self.access)
        lifetime = self.oauth.lifetimes[min(number, len(self.oauth.lifetimes) - 1)]
        access = f"access-{number + 1}-{secrets.token_hex(8)}"
        ends = None if lifetime is None else time.monotonic() + lifetime
        self.access[access] = _Access(family, ends)
        given: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if lifetime is not None:
            given["expires_in"] = lifetime
        if with_refresh:
            given["refresh_token"] = f"refresh-{len(self.refresh) + 1}-{secrets.token_hex(8)}"
            self.refresh[given["refresh_token"]] = _Refresh(family)
        if family.scopes:
            given["scope"] = " ".join(family.scopes)
        return given

    # Registration

    def register(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a registration."""
        uris = asked.get("redirect_uris")
        if not isinstance(uris, list) or not uris:
            raise Refusal("invalid_redirect_uri", f"redirect_uris {uris!r}")
        for uri in uris:
            parts = urlsplit(str(uri))
            if parts.scheme != "https" and parts.hostname not in (*_LOOPBACK, "localhost"):
                raise Refusal("invalid_redirect_uri", f"{uri!r}")
        method = self.oauth.registered_auth
        secret = None if method == "none" else f"secret-{secrets.token_hex(8)}"
        name = f"registered-{len(self.clients) + 1}-{secrets.token_hex(4)}"
        self.clients[name] = Client(name, uris, method, secret)
        given = {**asked, "client_id": name, "token_endpoint_auth_method": method}
        return given if secret is None else {**given, "client_secret": secret, "client_secret_expires_at": 0}

    # Using

    def scopes_of(self, token: str) -> list[str] | None:
        """What a token is good for; None = for nothing."""
        known = self.access.get(token)
        if known is None or known.revoked or known.family.revoked or self.closed:
            return None
        return None if known.ends is not None and time.monotonic() >= known.ends else known.family.scopes

    def revoke_access(self, *, all_later: bool = False) -> None:
        """No access token of so far is good any more, or of ever."""
        self.closed |= all_later
        for token in self.access.values():
            token.revoked = True


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _check_redirect(client: Client, uri: str) -> None:
    parts = urlsplit(uri)
    host, fine = parts.hostname, parts.scheme == "http" and not parts.fragment and not parts.username
    if client.redirect_uris is None:
        fine = fine and host in (*_LOOPBACK, "localhost")
    elif uri in client.redirect_uris:
        fine = True
    else:
        # RFC 8252 section 7.3: the port of a loopback address is free, that of a name is not.
        fine = fine and host in _LOOPBACK and _without_port(uri) in map(_without_port, client.redirect_uris)
    if not fine:
        raise Refusal("invalid_request", f"redirect_uri {uri!r} is not registered", redirects=False)


def _without_port(uri: str) -> tuple[str, str | None, str, str]:
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.path, parts.query
