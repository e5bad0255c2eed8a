"""Mistakes with metadata that are not by the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import address, issuer, lenient, metadata, request, token_endpoint
from dynamic_mcp.oauth.request import TransientFailure

if TYPE_CHECKING:
    import httpx

    from dynamic_mcp.config.model import OAuthSettings
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens


@mutant("OAUTH-040")
def compares_issuers_as_texts() -> None:
    """It did so up to version 1.1."""
    replace(issuer.is_same_issuer, lambda one, other: one == other)


@mutant("OAUTH-041")
def takes_any_final_slash_of_an_issuer_for_nothing() -> None:
    replace(issuer.is_same_issuer, lambda one, other: one.rstrip("/") == other.rstrip("/"))


class _Fatal(BaseException):
    """Passes every handler of failures."""


@mutant("OAUTH-042", also={"OAUTH-043": "an unreachable address ends the discovery too"})
def gives_up_at_the_first_failure() -> None:
    """It did so up to version 1.1."""
    right = request.fetch

    async def wrong(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
        try:
            return await right(http, what, url)
        except TransientFailure as failure:
            raise _Fatal from failure

    first = metadata.discover

    async def discover(
        http: httpx.AsyncClient, url: str, challenge: Challenge, settings: OAuthSettings
    ) -> metadata.Discovered:
        try:
            return await first(http, url, challenge, settings)
        except _Fatal:
            raise UpstreamFailed("one address does not answer") from None

    replace(right, wrong)
    replace(first, discover)


@mutant("OAUTH-043")
def asks_the_first_authorization_server_only() -> None:
    metadata.MAX_SERVERS = 1


@mutant("OAUTH-044")
def demands_the_right_type_of_every_member() -> None:
    """It did so up to version 1.1."""
    replace(lenient.decode_known, request.decode)


@mutant("OAUTH-045")
def names_no_address_in_messages() -> None:
    """It did so up to version 1.1."""
    replace(address.shown, lambda url: "an address")


@mutant("OAUTH-050")
def sends_a_refused_code_again() -> None:
    """As a proxy does that repeats each failed request once."""
    right = token_endpoint.request_tokens

    async def wrong(
        http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: dict[str, str]
    ) -> Tokens:
        try:
            return await right(http, endpoint, client, form)
        except UpstreamFailed:
            return await right(http, endpoint, client, form)

    replace(right, wrong)
