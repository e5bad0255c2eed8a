"""Mistakes in the authorization request, the exchange of the code and the use of the bearer."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from conformance.mutants import mutant, replace, wire_http
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.oauth import (
    address,
    browser,
    metadata,
    pkce,
    registration,
    sign_in_limit,
    signin,
    token_endpoint,
)
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.oauth.challenge import challenge_of
from dynamic_mcp.oauth.pkce import Pkce
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from conformance.mutants.wire_http import ProxyRequest
    from dynamic_mcp.config.model import OAuthSettings, RemoteTransport
    from dynamic_mcp.oauth.callback import CallbackAnswer
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import Discovered
    from dynamic_mcp.oauth.sign_in_request import SignInRequest

Form = dict[str, str]


def alter_token_requests(grant: str, change: Callable[[Form], Form]) -> None:
    """Change the form of each token request of this grant type."""
    right = token_endpoint.request_tokens

    async def wrong(http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: Form) -> Tokens:
        return await right(http, endpoint, client, change(form) if form["grant_type"] == grant else form)

    replace(right, wrong)


def alter_authorization_requests(change: Callable[[str], str]) -> None:
    """Change each address that the user is sent to."""
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(change(url), server)

    replace(right, wrong)


def without(name: str) -> Callable[[Form], Form]:
    """Remove this parameter from forms."""
    return lambda form: {key: value for key, value in form.items() if key != name}


def nobody_signs_in(id: str) -> dict[str, str]:
    """The other requirements that a mutant of requirement `id` breaks, because it makes every sign-in impossible.

    The exceptions are requirements about sign-ins that are refused, or do not end, and OAUTH-014, which judges the exchange alone.
    """
    flow = [f"OAUTH-{number:03}" for number in range(1, 33) if number not in (14, 20, 22, 27)]
    others = (
        "CFG-031",
        "OAUTH-048",
        "OAUTH-073",
        "OAUTH-074",
        "OAUTH-075",
        "OAUTH-090",
        "SSE-004",
        "TOK-001",
        "TOK-002",
    )
    return {other: "no sign-in succeeds" for other in (*flow, *others) if other != id}


@mutant("OAUTH-001", also=nobody_signs_in("OAUTH-001"))
def wants_a_token_in_place_of_a_code() -> None:
    """The implicit grant."""
    alter_authorization_requests(lambda url: _with_parameter(url, "response_type", lambda _: "token"))


@mutant(
    "OAUTH-048",
    also=dict.fromkeys(
        (
            "OAUTH-008",
            "OAUTH-009",
            "OAUTH-014",
            "OAUTH-016",
            "OAUTH-017",
            "OAUTH-026",
            "OAUTH-029",
            "OAUTH-032",
            "OAUTH-073",
            "OAUTH-074",
            "OAUTH-075",
        ),
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


@mutant("OAUTH-009")
def counts_its_states() -> None:
    numbers = count(time.time_ns())
    replace(pkce.new_state, lambda: f"{next(numbers)}".ljust(43, "0"))


@mutant("OAUTH-009")
def makes_the_verifier_from_the_state() -> None:
    """It is the SHA-256 of the state, so the authorization URL tells it."""
    right = pkce.new_state
    states: list[str] = []

    def new_state() -> str:
        states.append(right())
        return states[-1]

    def new_pkce() -> Pkce:
        digest = sha256(states[-1].encode()).digest()
        return Pkce(urlsafe_b64encode(digest).decode().rstrip("="))

    replace(right, new_state)
    replace(pkce.new_pkce, new_pkce)


@mutant("OAUTH-014", also=nobody_signs_in("OAUTH-014") | {"OAUTH-047": "the value is another one"})
def repeats_the_redirect_uri_with_a_slash() -> None:
    alter_token_requests(
        "authorization_code", lambda form: {**form, "redirect_uri": f"{form['redirect_uri']}/"}
    )


@mutant("OAUTH-047")
def leaves_out_the_redirect_uri() -> None:
    alter_token_requests("authorization_code", without("redirect_uri"))


@mutant("OAUTH-015", also=nobody_signs_in("OAUTH-015"))
def names_the_origin_as_the_resource() -> None:
    """The path of the MCP URL is missing."""

    def origin_of(resource: str) -> str:
        return resource.removesuffix(urlsplit(resource).path)

    alter_authorization_requests(lambda url: _with_parameter(url, "resource", origin_of))


@mutant("OAUTH-016")
def the_exchange_names_no_resource() -> None:
    """dmcp 1.5.0 behaves like this."""
    alter_token_requests("authorization_code", without("resource"))


@mutant("OAUTH-017", also=nobody_signs_in("OAUTH-017") | {"OAUTH-014": "the second exchange is judged too"})
def exchanges_the_code_twice() -> None:
    right = token_endpoint.request_tokens

    async def wrong(http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: Form) -> Tokens:
        tokens = await right(http, endpoint, client, form)
        if "code" in form:
            await http.post(endpoint, data={**form, "client_id": client.client_id})
        return tokens

    replace(right, wrong)


@mutant("OAUTH-035")
def asks_for_no_scopes_of_the_metadata() -> None:
    right = metadata.discover

    async def wrong(*request: Any) -> Discovered:
        return msgspec.structs.replace(await right(*request), scopes_supported=None)

    replace(right, wrong)


@mutant(
    "OAUTH-018",
    also=dict.fromkeys(
        ("CFG-031", "OAUTH-026", "OAUTH-035"), "it joins the scopes of other sign-ins in the same way"
    ),
)
def joins_scopes_with_commas() -> None:
    alter_authorization_requests(
        lambda url: _with_parameter(url, "scope", lambda scope: scope.replace(" ", ","))
    )


@mutant("OAUTH-019")
def adds_a_second_question_mark() -> None:
    """The endpoint has a query of its own."""

    # `response_type` is the first parameter behind the query of the endpoint.
    alter_authorization_requests(lambda url: url.replace("&response_type=", "?response_type="))


@mutant("OAUTH-021")
def ignores_iss() -> None:
    discover, wait = metadata.discover, Callback.wait

    async def needs_no_iss(
        http: httpx.AsyncClient, url: str, challenge: Challenge, settings: OAuthSettings
    ) -> Discovered:
        found = await discover(http, url, challenge, settings)
        server = msgspec.structs.replace(found.server, authorization_response_iss_parameter_supported=False)
        return msgspec.structs.replace(found, server=server)

    async def without_iss(self: Callback) -> CallbackAnswer:
        return msgspec.structs.replace(await wait(self), iss=None)

    replace(discover, needs_no_iss)
    replace(wait, without_iss)


@mutant("OAUTH-024")
def ends_the_session_without_the_bearer() -> None:
    def wrong(request: ProxyRequest) -> None:
        if request.method == "DELETE":
            request.headers.pop("Authorization", None)

    wire_http.change_requests(wrong)


@mutant("OAUTH-036")
def the_configured_header_replaces_the_bearer() -> None:
    _keep_configured(lambda name: name.lower() == "authorization")


@mutant("OAUTH-036")
def the_bearer_replaces_only_a_header_in_lower_case() -> None:
    _keep_configured(lambda name: name.lower() == "authorization" != name)


def _keep_configured(is_kept: Callable[[str], bool]) -> None:
    """Send no bearer to a server that has a configured header with such a name."""
    right, bearer = Authorization.__init__, Authorization.bearer
    replaced: set[Authorization] = set()

    def remember(
        self: Authorization, server: str, transport: RemoteTransport, *more: Any, **named: Any
    ) -> None:
        right(self, server, transport, *more, **named)
        if any(is_kept(name) for name, _ in transport.headers):
            replaced.add(self)

    async def wrong(self: Authorization) -> str | None:
        return None if self in replaced else await bearer(self)

    replace(right, remember)
    replace(bearer, wrong)


@mutant("OAUTH-025")
def a_refused_token_is_refused_for_good() -> None:
    """Every call fails until the proxy is restarted."""
    right = Authorization.handle_refusal

    async def wrong(self: Authorization, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        if status == 401 and bearer is not None:
            raise UpstreamFailed("it refused the token")
        return await right(self, status, bearer, challenge, kind)

    replace(right, wrong)


@mutant("OAUTH-026")
def asks_for_what_is_missing_only() -> None:
    right = signin.sign_in

    async def wrong(
        http: httpx.AsyncClient, wanted: SignInRequest, challenge: Challenge, *more: Any
    ) -> Tokens:
        if challenge.error == "insufficient_scope":
            wanted = msgspec.structs.replace(wanted, granted=None, scopes=())
        return await right(http, wanted, challenge, *more)

    replace(right, wrong)


@mutant("OAUTH-028")
def keeps_one_verifier_for_the_process() -> None:
    right = pkce.new_pkce
    made: list[Pkce] = []

    def remembered() -> Pkce:
        made.append(right())
        return made[-1]

    replace(right, remembered)
    alter_token_requests("authorization_code", lambda form: {**form, "code_verifier": made[-1].verifier})


@mutant("OAUTH-031")
def passes_the_endpoint_on_as_it_is() -> None:
    replace(address.base_of, lambda endpoint: endpoint.partition("?")[0])


@mutant("OAUTH-032")
def asks_for_the_same_scopes_again() -> None:
    """dmcp 1.5.0 has no step-up; a step-up without memory behaves like this."""
    right = Authorization.handle_refusal

    async def wrong(self: Authorization, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        parsed = challenge_of(challenge)
        if status == 403 and parsed.error == "insufficient_scope":
            raise SignInNeeded("it needs you to allow more", challenge=parsed)
        return await right(self, status, bearer, challenge, kind)

    replace(right, wrong)


@mutant("OAUTH-032")
def opens_pages_without_a_limit() -> None:
    sign_in_limit.MAX_SIGN_INS = 1000


@mutant("OAUTH-029")
def has_an_empty_client_id() -> None:
    async def wrong(*request: Any) -> ClientRegistration:
        return ClientRegistration("")

    replace(registration.register, wrong)


def _with_parameter(url: str, name: str, change: Callable[[str], str]) -> str:
    """The address with another value of one parameter, where it has this parameter."""
    parts = urlsplit(url)
    query = [
        (key, change(value) if key == name else value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))
