"""Mistakes in the authorization request, the exchange of the code and the use of the bearer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import browser, pkce, signin, token_endpoint
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.pkce import Pkce
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from dynamic_mcp.upstream.http import client

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from dynamic_mcp.oauth.callback import CallbackAnswer
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import Discovered

Form = dict[str, str]


def alter_token_requests(grant: str, change: Callable[[Form], Form]) -> None:
    """Every token request of this grant type has a changed form."""
    right = token_endpoint.request_tokens

    async def wrong(http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: Form) -> Tokens:
        return await right(http, endpoint, client, change(form) if form["grant_type"] == grant else form)

    replace(right, wrong)


def without(name: str) -> Callable[[Form], Form]:
    """Forms lose this parameter."""
    return lambda form: {key: value for key, value in form.items() if key != name}


def nobody_signs_in(id: str) -> dict[str, str]:
    """What a mistake about requirement `id` cannot help but fail where it makes every sign-in impossible.

    That is all but what is about sign-ins that are refused, or do not end.
    """
    others = (f"OAUTH-{number:03}" for number in range(1, 30) if number not in (20, 22, 27))
    return {other: "no sign-in succeeds" for other in others if other != id}


@mutant(
    "OAUTH-001",
    also=dict.fromkeys(
        ("OAUTH-008", "OAUTH-009", "OAUTH-014", "OAUTH-016", "OAUTH-017", "OAUTH-026", "OAUTH-029"),
        "the user approves twice",
    ),
)
def opens_two_windows() -> None:
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(url, server)
        await right(url, server)

    replace(right, wrong)


@mutant("OAUTH-008", also=nobody_signs_in("OAUTH-008"))
def sends_the_verifier_as_the_challenge() -> None:
    replace(vars(Pkce)["challenge"], property(lambda self: self.verifier))


@mutant(
    "OAUTH-009",
    also={
        "OAUTH-011": "the state of another flow is the right one",
        "OAUTH-028": "the state of one flow is that of every other",
    },
)
def has_one_state_for_ever() -> None:
    replace(pkce.new_state, lambda: "A" * 43)


@mutant("OAUTH-014", also=nobody_signs_in("OAUTH-014"))
def leaves_out_the_redirect_uri() -> None:
    alter_token_requests("authorization_code", without("redirect_uri"))


@mutant("OAUTH-015", also=nobody_signs_in("OAUTH-015"))
def names_the_origin_as_the_resource() -> None:
    right = signin._address

    def wrong(found: Discovered, *rest: Any) -> str:
        origin = found.resource.removesuffix(urlsplit(found.resource).path)
        return right(msgspec.structs.replace(found, resource=origin), *rest)

    replace(right, wrong)


@mutant("OAUTH-016")
def the_exchange_names_no_resource() -> None:
    alter_token_requests("authorization_code", without("resource"))


@mutant("OAUTH-017", also=nobody_signs_in("OAUTH-017"))
def exchanges_the_code_twice() -> None:
    right = token_endpoint.request_tokens

    async def wrong(http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: Form) -> Tokens:
        tokens = await right(http, endpoint, client, form)
        if "code" in form:
            await http.post(endpoint, data={**form, "client_id": client.client_id})
        return tokens

    replace(right, wrong)


@mutant("OAUTH-018", also={"OAUTH-026": "the scopes that are asked for later are joined in the same way"})
def joins_scopes_with_commas() -> None:
    right = signin._scope
    replace(right, lambda *known: (right(*known) or "").replace(" ", ",") or None)


@mutant("OAUTH-019")
def adds_a_second_question_mark() -> None:
    right = signin._address

    def wrong(found: Discovered, *rest: Any) -> str:
        endpoint = found.server.authorization_endpoint
        bare = msgspec.structs.replace(found.server, authorization_endpoint=endpoint.partition("?")[0])
        query = urlsplit(right(msgspec.structs.replace(found, server=bare), *rest)).query
        return f"{endpoint}?{query}"

    replace(right, wrong)


@mutant("OAUTH-021")
def ignores_iss() -> None:
    right = signin._exchange

    async def wrong(
        http: httpx.AsyncClient,
        found: Discovered,
        client: ClientRegistration,
        uri: str,
        answer: CallbackAnswer,
        pkce: Pkce,
    ) -> Tokens:
        issuer = found.server.issuer
        return await right(http, found, client, uri, msgspec.structs.replace(answer, iss=issuer), pkce)

    replace(right, wrong)


@mutant("OAUTH-024")
def the_configured_header_replaces_the_bearer() -> None:
    right = client._merged
    replace(right, lambda own, asked, configured, token: right(own, asked, token, configured))


@mutant("OAUTH-025")
def a_refused_token_is_refused_for_good() -> None:
    right = Authorization.refused

    async def wrong(self: Authorization, used: str | None, challenge: Challenge) -> None:
        if used is not None:
            raise UpstreamFailed("it refused the token")
        await right(self, used, challenge)

    replace(right, wrong)


@mutant("OAUTH-026")
def asks_for_what_is_missing_only() -> None:
    right = signin._scope

    def wrong(wanted: signin.SignInRequest, challenge: Challenge, found: Discovered) -> str | None:
        if challenge.error == "insufficient_scope":
            return challenge.scope
        return right(wanted, challenge, found)

    replace(right, wrong)


@mutant(
    "OAUTH-028",
    also=dict.fromkeys(
        (
            "OAUTH-002",
            "OAUTH-005",
            "OAUTH-009",
            "OAUTH-015",
            "OAUTH-018",
            "OAUTH-021",
            "OAUTH-025",
            "OAUTH-026",
        ),
        "it has several sign-ins at once",
    ),
)
def keeps_one_verifier_for_the_process() -> None:
    new, right = pkce.new_pkce, signin._exchange
    made: list[Pkce] = []

    def remembered() -> Pkce:
        made.append(new())
        return made[-1]

    async def wrong(
        http: httpx.AsyncClient,
        found: Discovered,
        client: ClientRegistration,
        uri: str,
        answer: CallbackAnswer,
        pkce: Pkce,
    ) -> Tokens:
        return await right(http, found, client, uri, answer, made[-1])

    replace(new, remembered)
    replace(right, wrong)


@mutant("OAUTH-029")
def has_an_empty_client_id() -> None:
    async def wrong(http: httpx.AsyncClient, wanted: signin.SignInRequest, *rest: Any) -> ClientRegistration:
        return ClientRegistration(wanted.client_id or "")

    replace(signin._client, wrong)
