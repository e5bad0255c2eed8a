"""Mistakes that only the second sign-in at a server has."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.oauth_signin import (
    alter_authorization_requests,
    alter_token_requests,
    without,
)
from dynamic_mcp.oauth import pkce, scopes, signin

if TYPE_CHECKING:
    import httpx

    from conformance.mutants.oauth_signin import Form
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import Discovered
    from dynamic_mcp.oauth.pkce import Pkce
    from dynamic_mcp.oauth.sign_in_request import SignInRequest
    from dynamic_mcp.oauth.tokens import Tokens


@mutant(
    "OAUTH-008",
    also=dict.fromkeys(
        ("OAUTH-026", "OAUTH-076", "OAUTH-077"), "the authorization server refuses the step-up"
    ),
)
def a_step_up_has_no_code_challenge() -> None:
    right = signin.sign_in
    steps_up: ContextVar[bool] = ContextVar("steps_up")

    async def wrong(
        http: httpx.AsyncClient, wanted: SignInRequest, challenge: Challenge, *more: Any
    ) -> Tokens:
        steps_up.set(challenge.error == "insufficient_scope")
        return await right(http, wanted, challenge, *more)

    replace(right, wrong)
    alter_authorization_requests(
        lambda url: re.sub(r"&code_challenge(_method)?=[^&]*", "", url) if steps_up.get() else url
    )


@mutant("OAUTH-009")
def a_server_keeps_its_state_and_verifier_for_all_its_sign_ins() -> None:
    right, new_state, new_pkce = signin.sign_in, pkce.new_state, pkce.new_pkce
    server: ContextVar[str] = ContextVar("server")
    states: dict[str, str] = {}
    proofs: dict[str, Pkce] = {}

    async def wrong(http: httpx.AsyncClient, wanted: SignInRequest, *more: Any) -> Tokens:
        server.set(wanted.server)
        return await right(http, wanted, *more)

    replace(right, wrong)
    replace(new_state, lambda: states.setdefault(server.get(), new_state()))
    replace(new_pkce, lambda: proofs.setdefault(server.get(), new_pkce()))


@mutant("OAUTH-015", also={"OAUTH-016": "its exchange names none either"})
def a_step_up_names_no_resource() -> None:
    right = signin.sign_in

    async def wrong(
        http: httpx.AsyncClient, wanted: SignInRequest, challenge: Challenge, *more: Any
    ) -> Tokens:
        if challenge.error == "insufficient_scope":
            wanted = msgspec.structs.replace(
                wanted, oauth=msgspec.structs.replace(wanted.oauth, resource=False)
            )
        return await right(http, wanted, challenge, *more)

    replace(right, wrong)


@mutant("OAUTH-026")
def a_step_up_adds_to_configured_scopes_only() -> None:
    """It forgets the scopes that the first sign-in took from the metadata of the server."""
    right = scopes.wanted_scope

    def wrong(request: SignInRequest, challenge: Challenge, found: Discovered) -> str | None:
        if challenge.error == "insufficient_scope" and not request.scopes:
            return challenge.scope
        return right(request, challenge, found)

    replace(right, wrong)


@mutant("OAUTH-016")
def the_exchange_of_a_step_up_names_no_resource() -> None:
    seen: set[str] = set()

    def change(form: Form) -> Form:
        resource = form.get("resource", "")
        if resource in seen:
            return without("resource")(form)
        seen.add(resource)
        return form

    alter_token_requests("authorization_code", change)
