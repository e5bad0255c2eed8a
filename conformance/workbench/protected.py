"""An upstream that wants a bearer, with its authorization server, as their one journal shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance.errors import Violation
from conformance.workbench.polling import show
from conformance.workbench.remotes import HttpRequest, RemoteUpstream

if TYPE_CHECKING:
    from mock_servers.journal import Entry


@dataclass(frozen=True, repr=False)
class Asked:
    """One request to an endpoint of the authorization server.

    `pairs` are its parameters as decoded; a registration has its JSON in `document`. `problem` is why it was
    refused, None = it was not; `issued` what it brought.
    """

    t: float
    n: int
    pairs: list[tuple[str, str]]
    document: Any
    problem: str | None
    issued: dict[str, Any]

    @property
    def params(self) -> dict[str, str]:
        return dict(self.pairs)

    def __repr__(self) -> str:
        return f"{self.document or self.pairs} -> {self.problem or 'granted'}"


@dataclass(frozen=True)
class ProtectedUpstream(RemoteUpstream):
    """Made by `Workbench.oauth`. `http` is every request to both, in order of arrival."""

    issuer: str = ""

    @property
    def mcp(self) -> list[HttpRequest]:
        """The requests to the MCP URL."""
        return [request for request in self.http if self._place_of(request) == self.url]

    @property
    def elsewhere(self) -> list[str]:
        """All other URLs that were asked for, in order, without their queries."""
        places = [self._place_of(request) for request in self.http]
        return [place for place in places if place != self.url]

    def _place_of(self, request: HttpRequest) -> str:
        return f"{urlsplit(self.url).scheme}://{request.header('Host')}{request.target.partition('?')[0]}"

    @property
    def authorizations(self) -> list[Asked]:
        """The requests of browsers to the authorization endpoint."""
        return self._asked("authorize")

    @property
    def token_requests(self) -> list[Asked]:
        """The requests to the token endpoint."""
        return self._asked("token")

    @property
    def exchanges(self) -> list[Asked]:
        """Those that bring a code."""
        return [
            asked for asked in self.token_requests if asked.params.get("grant_type") == "authorization_code"
        ]

    @property
    def refreshes(self) -> list[Asked]:
        """Those that bring a refresh token."""
        return [asked for asked in self.token_requests if asked.params.get("grant_type") == "refresh_token"]

    @property
    def registrations(self) -> list[Asked]:
        return self._asked("register")

    @property
    def access_tokens(self) -> list[str]:
        """Every access token that was issued, in order."""
        return [
            asked.issued["access_token"] for asked in self.token_requests if "access_token" in asked.issued
        ]

    @property
    def refresh_tokens(self) -> list[str]:
        """Every refresh token that was issued, in order."""
        return [
            asked.issued["refresh_token"] for asked in self.token_requests if "refresh_token" in asked.issued
        ]

    def bearer(self, request: HttpRequest) -> str | None:
        """The token that a request carries."""
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    @property
    def bearers(self) -> list[str]:
        """The tokens of all requests to the MCP URL that carry one, in order."""
        return [token for request in self.mcp if (token := self.bearer(request)) is not None]

    def got_no_token_request(self) -> None:
        """Raise `Violation` if the token endpoint was asked for anything."""
        if self.token_requests:
            seen = show("; ".join(map(str, self.token_requests)))
            raise Violation(f"the token endpoint of {self.name} is not asked", seen)

    def _asked(self, event: str) -> list[Asked]:
        return [_read(entry) for entry in self.events(event)]


def _read(entry: Entry) -> Asked:
    data = entry.data
    params = data["params"]
    pairs = [(name, value) for name, value in params] if isinstance(params, list) else []
    document = None if isinstance(params, list) else params
    return Asked(entry.t, data["n"], pairs, document, data["problem"], data["issued"])
