"""Mistakes with clients that were registered by hand, with scopes, and with the configured headers in a sign-in."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.config import oauth as oauth_table
from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import assertion, configured, metadata, own_headers, renewal, scopes, signin
from dynamic_mcp.oauth import request as requests

if TYPE_CHECKING:
    import httpx

    from dynamic_mcp.config.model import RemoteTransport
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import Discovered, ServerMetadata
    from dynamic_mcp.oauth.reach import NetworkReach
    from dynamic_mcp.oauth.sign_in_request import SignInRequest
    from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens


def _ignore(**defaults: Any) -> None:
    """Load every configuration as if it had these settings of the table ``oauth``."""
    right = oauth_table.oauth

    def wrong(*table: Any) -> oauth_table.Converted:
        converted = right(*table)
        converted.oauth = msgspec.structs.replace(converted.oauth, **defaults)
        return converted

    replace(right, wrong)


@mutant("OAUTH-070", also={"TOK-040": "no sign-in succeeds", "OAUTH-081": "no token request succeeds"})
def sends_no_secret() -> None:
    _ignore(client_secret=None)


@mutant("OAUTH-070", also={"TOK-040": "the server wants the secret in the form"})
def sends_the_secret_by_basic_to_every_server() -> None:
    right = configured.configured_client

    def wrong(client_id: str, settings: OAuthSettings, server: ServerMetadata) -> ClientRegistration:
        silent = msgspec.structs.replace(
            server, token_endpoint_auth_methods_supported=["client_secret_basic"]
        )
        return right(client_id, settings, silent)

    replace(right, wrong)


@mutant("TOK-040")
def stores_the_configured_secret() -> None:
    replace(configured.without_secrets, lambda client: client)


@mutant("TOK-040")
def refreshes_without_the_configured_secret() -> None:
    replace(configured.completed, lambda client, settings: msgspec.structs.replace(client, method="none"))
    right = configured.configured_client

    def wrong(client_id: str, settings: OAuthSettings, server: ServerMetadata) -> ClientRegistration:
        secret = None if settings.client_secret is None else settings.client_secret.reveal()
        offered = (server.token_endpoint_auth_methods_supported or ["client_secret_basic"])[0]
        return msgspec.structs.replace(
            right(client_id, settings, server), client_secret=secret, method=offered
        )

    replace(right, wrong)


@mutant("OAUTH-071")
def listens_at_its_own_address() -> None:
    """It did so up to version 1.1."""
    _ignore(redirect_uri=None)


@mutant("OAUTH-072")
def always_names_the_resource() -> None:
    """It did so up to version 1.1."""
    _ignore(resource=True)


@mutant("OAUTH-072")
def the_refresh_names_the_resource() -> None:
    right = renewal.renewed

    async def wrong(transport: RemoteTransport, reach: NetworkReach, old: Tokens) -> Tokens | None:
        replace(configured.named_resource, lambda settings, resource: {"resource": resource})
        return await right(transport, reach, old)

    replace(right, wrong)


@mutant("OAUTH-073")
def sends_its_own_parameters_only() -> None:
    """It did so up to version 1.1."""
    _ignore(parameters=())


@mutant("OAUTH-074")
def believes_only_the_server() -> None:
    """It did so up to version 1.1."""
    _ignore(issuer=None)


@mutant("OAUTH-074")
def believes_the_server_first() -> None:
    """The configured authorization server is the last resort."""
    right = metadata.discover

    async def wrong(
        http: httpx.AsyncClient, url: str, challenge: Challenge, settings: OAuthSettings
    ) -> Discovered:
        with suppress(UpstreamFailed):
            found = await right(http, url, challenge, msgspec.structs.replace(settings, issuer=None))
            if found.published:
                return found
        return await right(http, url, challenge, settings)

    replace(right, wrong)


@mutant("OAUTH-075")
def never_assumes_pkce() -> None:
    """It did so up to version 1.1."""
    _ignore(assume_pkce=False)


@mutant("OAUTH-076")
def asks_for_the_granted_scopes_again() -> None:
    """It did so up to version 1.1."""
    right = scopes.wanted_scope

    def wrong(request: SignInRequest, challenge: Challenge, found: Discovered) -> str | None:
        if challenge.error == "insufficient_scope" and not challenge.scope:
            return request.granted
        return right(request, challenge, found)

    replace(right, wrong)


@mutant("OAUTH-076")
def remembers_no_requested_scope() -> None:
    """Every refused call opens a page, as long as the server grants less than its metadata list."""
    right = signin.sign_in

    async def wrong(*request: Any) -> Tokens:
        tokens = await right(*request)
        return msgspec.structs.replace(tokens, requested=None, scope=None)

    replace(right, wrong)


@mutant("OAUTH-077")
def keeps_a_registration_for_fewer_scopes() -> None:
    """It did so up to version 1.1."""
    replace(scopes.covers, lambda client, scope: True)


@mutant("OAUTH-078")
def never_asks_for_offline_access() -> None:
    """It did so up to version 1.1."""
    right = metadata.validated

    def wrong(server: ServerMetadata, *more: Any) -> ServerMetadata:
        return msgspec.structs.replace(right(server, *more), scopes_supported=None)

    replace(right, wrong)


@mutant("OAUTH-078")
def always_asks_for_the_consent() -> None:
    """As clients with the official TypeScript SDK do; many tenants then refuse every user."""
    replace(scopes.needs_consent, lambda server, client, scope: scopes.OFFLINE in (scope or ""))


@mutant("OAUTH-078")
def never_asks_for_the_consent() -> None:
    replace(scopes.needs_consent, lambda server, client, scope: False)


@mutant("OAUTH-078")
def a_step_up_asks_for_no_refresh_token() -> None:
    right = scopes.wanted_scope

    def wrong(request: SignInRequest, challenge: Challenge, found: Discovered) -> str | None:
        scope = right(request, challenge, found)
        if challenge.error != "insufficient_scope" or scope is None:
            return scope
        return " ".join(word for word in scope.split() if word != scopes.OFFLINE)

    replace(right, wrong)


@mutant("OAUTH-079")
def keeps_the_headers_for_the_mcp_address() -> None:
    """It did so up to version 1.1."""

    def wrong(transport: RemoteTransport, reach: NetworkReach) -> httpx.AsyncClient:
        return requests.http_client(reach)

    replace(own_headers.client_for, wrong)


@mutant("OAUTH-079")
def sends_the_headers_to_every_origin() -> None:
    def wrong(transport: RemoteTransport, reach: NetworkReach) -> httpx.AsyncClient:
        http = requests.http_client(reach)
        http.headers.update({name: value.reveal() for name, value in transport.headers})
        return http

    replace(own_headers.client_for, wrong)


@mutant("OAUTH-081", also={"OAUTH-082": "a page opens for the machine"})
def wants_a_person() -> None:
    """It did so up to version 1.1."""
    _ignore(grant="authorization_code")


@mutant("OAUTH-082")
def signs_for_another_server() -> None:
    right = assertion.signed
    replace(right, lambda key, client_id, audience: right(key, client_id, "https://elsewhere.example"))


@mutant("OAUTH-082")
def sends_no_proof() -> None:
    _ignore(key=None)


@mutant("OAUTH-082")
def repeats_its_first_proof() -> None:
    right, first = assertion.signed, dict[tuple[str, str], str]()
    replace(
        right,
        lambda key, client_id, audience: first.setdefault(
            (client_id, audience), right(key, client_id, audience)
        ),
    )


@mutant("CFG-060")
def lets_the_configuration_fix_the_state() -> None:
    oauth_table.OWN_PARAMETERS = frozenset()
