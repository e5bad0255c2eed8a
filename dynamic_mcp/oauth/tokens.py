"""Tokens with an absolute expiry, and the rule for their renewal. This module does no input or output.

dynamic-mcp SECURITY.md 1.3.0: "Automatic token refresh before expiry (5-minute buffer)". If renewals give tokens that live less than twice
the buffer, many requests would need another renewal. Such a fresh token is due at half of its lifetime instead.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

#: A token with fewer seconds left is due for renewal.
BUFFER = 300.0


class Signing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A private key as PEM, and how to sign with it."""

    pem: str
    algorithm: str | None = None
    key_id: str | None = None

    def __repr__(self) -> str:
        return "Signing(hidden)"


class ClientRegistration(msgspec.Struct, frozen=True, omit_defaults=True):
    """The proxy as a client of an authorization server: configured, or registered there (RFC 7591)."""

    client_id: str
    client_secret: str | None = None
    #: "none", "client_secret_basic", "client_secret_post" or "private_key_jwt"
    method: str = "none"
    redirect_uri: str | None = None
    registered: bool = False
    #: whether the form has the client id even if the header authenticates the client; a few servers refuse that
    id_in_form: bool = True
    #: POSIX time at which the secret expires; None = never
    secret_expires_at: float | None = None
    #: whether HTTP Basic has the id and the secret as they are, without percent-encoding; a few servers do not decode them
    is_raw: bool = False
    #: whether the secret may also belong into the form: the server offers that, or does not say how a client authenticates
    is_guess: bool = False
    #: the scopes of a registration; the server may grant no others
    scope: str | None = None
    #: the scopes that the server gave the registration, if it said so
    given_scope: str | None = None
    #: the key of ``private_key_jwt``, and for whom it signs
    key: Signing | None = None
    audience: str | None = None

    def is_expired(self, now: float) -> bool:
        """Whether the secret of the client has expired at ``now`` (POSIX time)."""
        return self.secret_expires_at is not None and self.secret_expires_at <= now

    def __repr__(self) -> str:
        return f"Client({self.client_id!r}, {self.method})"


class Tokens(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of a token file. The first three members are those of dmcp; the others say what the tokens are for."""

    access_token: str
    refresh_token: str | None = None
    #: RFC 3339, in UTC; None if the server did not say
    expires_at: str | None = None
    #: the name of the server in the configuration, and the digest of its URL; the tokens are for no other server
    server: str | None = None
    url_digest: str | None = None
    resource: str | None = None
    issuer: str | None = None
    token_endpoint: str | None = None
    scope: str | None = None
    #: the scope that the sign-in requested, and the scopes of the configuration at that time
    requested: str | None = None
    configured_scope: str | None = None
    #: lifetime of the token in seconds, when it was issued
    lifetime: float | None = None
    client: ClientRegistration | None = None
    #: POSIX time of the sign-in that they come from, also after renewals
    signed_in_at: float | None = None
    #: POSIX time at which ``dynamic-mcp login`` last found that the server takes them
    confirmed_at: float | None = None
    #: whether they are those of a machine, which no person has allowed anything
    machine: bool = False

    def __repr__(self) -> str:
        return f"Tokens(hidden, expires_at={self.expires_at!r})"

    @property
    def registration(self) -> ClientRegistration | None:
        """The registered client of these tokens; None for a configured one."""
        return self.client if self.client is not None and self.client.registered else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds left at ``now`` (POSIX time); None if unknown."""
        if self.expires_at is None:
            return None
        return datetime.fromisoformat(self.expires_at).timestamp() - now

    def is_expired(self, now: float) -> bool:
        """Whether the access token has expired."""
        left = self.seconds_left(now)
        return left is not None and left <= 0

    def is_due(self, now: float, *, fresh: bool) -> bool:
        """Whether the token needs a renewal before its use. A ``fresh`` one has at least half of its lifetime."""
        left = self.seconds_left(now)
        if left is None:
            return False
        buffer = BUFFER
        if fresh and self.lifetime is not None:
            buffer = min(BUFFER, self.lifetime / 2)
        return left <= 0 or left < buffer


def expiry(now: float, expires_in: float) -> str:
    """The instant ``expires_in`` seconds after ``now`` (POSIX time), as RFC 3339."""
    return (
        datetime.fromtimestamp(now + expires_in, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
