"""What a sign-in gives: tokens with an absolute expiry, and when they are to be renewed. No input or output.

SECURITY.md: "Automatic token refresh before expiry (5-minute buffer)". A token that never lives longer than the buffer would be
renewed before every request; one that was obtained by this process is renewed at half of its life instead.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

#: Seconds of life that a token must have left to be used without being renewed.
BUFFER = 300.0


class ClientRegistration(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who we are to the authorization server: configured, or registered there (RFC 7591)."""

    client_id: str
    client_secret: str | None = None
    #: "none", "client_secret_basic" or "client_secret_post"
    method: str = "none"
    redirect_uri: str | None = None
    registered: bool = False
    #: POSIX time from which the authorization server does not take the secret any more; None = it does not end
    secret_expires_at: float | None = None

    def is_expired(self, now: float) -> bool:
        """Whether the secret of the client is not taken any more at ``now`` (POSIX time)."""
        return self.secret_expires_at is not None and self.secret_expires_at <= now

    def __repr__(self) -> str:
        return f"Client({self.client_id!r}, {self.method})"


class Tokens(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token file: the first three members are dmcp's, the others say what the tokens are good for."""

    access_token: str
    refresh_token: str | None = None
    #: RFC 3339, in UTC; None when the server did not say
    expires_at: str | None = None
    #: the name of the server in the configuration, and its URL without query: tokens are for nobody else
    server: str | None = None
    resource: str | None = None
    issuer: str | None = None
    token_endpoint: str | None = None
    scope: str | None = None
    #: seconds that the token lived when it was issued
    lifetime: float | None = None
    client: ClientRegistration | None = None

    def __repr__(self) -> str:
        return f"Tokens(hidden, expires_at={self.expires_at!r})"

    @property
    def registration(self) -> ClientRegistration | None:
        """The client that was registered for these tokens, if one was."""
        return self.client if self.client is not None and self.client.registered else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds of life at ``now`` (POSIX time); None when it is not known."""
        if self.expires_at is None:
            return None
        return datetime.fromisoformat(self.expires_at).timestamp() - now

    def is_expired(self, now: float) -> bool:
        """Whether the access token must not be sent any more."""
        left = self.seconds_left(now)
        return left is not None and left <= 0

    def is_due(self, now: float, *, fresh: bool) -> bool:
        """Whether the token is to be renewed before it is used; ``fresh`` when this process obtained it."""
        left = self.seconds_left(now)
        if left is None:
            return False
        buffer = BUFFER
        if fresh and self.lifetime is not None and self.lifetime <= BUFFER:
            buffer = self.lifetime / 2
        return left <= 0 or left < buffer


def expiry(now: float, expires_in: float) -> str:
    """The instant ``expires_in`` seconds after ``now`` (POSIX time), as RFC 3339."""
    return (
        datetime.fromtimestamp(now + expires_in, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
