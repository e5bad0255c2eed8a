"""OAUTH: the authorization request and the exchange of the code.

Discovery by challenge needs a request without a token, so requests before the sign-in may lack one.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import partial
from hashlib import sha256
from itertools import combinations, takewhile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in, sign_in
from conformance.checks.oauth_step_up import call_for_the_second_scope, flows_of, server_with_two_scopes
from conformance.workbench.leak_scan import leaked
from mock_servers.oauth_script import CLIENT, Fault, OAuth
from mock_servers.remote.oauth.token_registry import CHALLENGE, VERIFIER, challenge_of
from mock_servers.script import Http, Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import OAuthRequest


#: what remains of two random values without their common beginning and end; chance takes less than 7 of 22 characters
OWN_PART = 16


def flow_of(workbench: Workbench, upstream: ProtectedMockUpstream) -> tuple[OAuthRequest, OAuthRequest]:
    """The one authorization request and the one exchange of a sign-in."""
    authorized = workbench.one(upstream.authorizations, "one authorization request")
    return authorized, workbench.one(upstream.exchanges, "one exchange of the code")


@check("OAUTH-001", timeout=30)
async def a_sign_in_uses_the_configured_client_id(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a")
    browser = workbench.browser()
    await sign_in(workbench, upstream)
    registered = [one.issued.get("client_id") for one in upstream.registrations]
    clients = registered if workbench.sut.profile.registers else [CLIENT]
    which = " or ".join(f"client_id={client}" for client in clients)
    for page in workbench.some(browser.openings, "the proxy opens a page"):
        workbench.expect(page.params.get("client_id") in clients, which or "a registered client_id", page)
        workbench.expect(page.params.get("response_type") == "code", "response_type=code", page)
    first, authorized = upstream.token_requests[0], upstream.authorizations[0]
    workbench.expect(first.t > authorized.t, "no token request before the authorization", first)


@check("OAUTH-048", timeout=30)
async def a_sign_in_opens_one_page(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a")
    browser = workbench.browser()
    await sign_in(workbench, upstream)
    workbench.one(browser.openings, "the proxy opens one page")


@check("OAUTH-008", timeout=40, slow=True)
async def the_code_is_protected_with_s256(workbench: Workbench) -> None:
    upstream, again = await workbench.oauth("a"), await server_with_two_scopes(workbench, "again")
    workbench.browser()
    await _sign_in_and_again(workbench, upstream, again)
    for authorized in (*upstream.authorizations, *again.authorizations):
        challenge = authorized.params.get("code_challenge", "")
        method = authorized.params.get("code_challenge_method")
        workbench.expect(method == "S256", "code_challenge_method=S256", authorized)
        workbench.expect(CHALLENGE.fullmatch(challenge), "a challenge of 43 base64url characters", authorized)
    for authorized, exchanged in (flow_of(workbench, upstream), *flows_of(workbench, again)):
        challenge = authorized.params.get("code_challenge", "")
        verifier = exchanged.params.get("code_verifier", "")
        workbench.expect(
            VERIFIER.fullmatch(verifier), "a verifier of 43 to 128 unreserved characters", verifier
        )
        workbench.expect(
            challenge_of(verifier) == challenge, "the challenge is that of the verifier", verifier
        )


async def _sign_in_and_again(workbench: Workbench, *upstreams: ProtectedMockUpstream) -> None:
    """Sign in to the upstreams, and to the last one again, which is a `server_with_two_scopes`."""
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)
        await call_for_the_second_scope(proxy, upstreams[-1])


@check("OAUTH-009", timeout=40, slow=True)
async def state_and_verifier_are_fresh_and_long(workbench: Workbench) -> None:
    upstreams = [await workbench.oauth(name) for name in "abcde"]
    again = await server_with_two_scopes(workbench, "again")
    browser = workbench.browser()
    await sign_in(workbench, *upstreams[:4])
    await _sign_in_and_again(workbench, upstreams[4], again)
    flows = [flow_of(workbench, upstream) for upstream in upstreams] + flows_of(workbench, again)
    states = [authorized.params.get("state", "") for authorized, _ in flows]
    verifiers = [exchanged.params.get("code_verifier", "") for _, exchanged in flows]
    _must_be_fresh(workbench, "verifier", verifiers)
    # Without a state, PKCE protects the flow alone.
    if any(states):
        _must_be_fresh(workbench, "state", states)
        workbench.expect(
            all(len(state) >= 22 for state in states), "at least 22 characters in each state", states
        )
    for state, verifier in zip(states, verifiers, strict=True):
        followed = _derived(state) if state else {}
        seen = [how for how, value in followed.items() if value == verifier.rstrip("=")]
        workbench.expect(not seen, "no verifier that follows from the state", seen)
    secrets = {"the verifier": verifiers, "the verifier in reverse": [one[::-1] for one in verifiers]}
    for opening in browser.openings:
        shown = [
            found
            for name, values in secrets.items()
            for one in values
            for found in leaked(opening.url, {name: one})
        ]
        workbench.expect(not shown, "no verifier in a URL", shown)


def _must_be_fresh(workbench: Workbench, what: str, values: list[str]) -> None:
    workbench.expect(len(set(values)) == len(values), f"a {what} of its own in each flow", values)
    for one, other in combinations(values, 2):
        start = _common(one, other)
        end = _common(one[start:][::-1], other[start:][::-1])
        own = max(len(one), len(other)) - start - end
        workbench.expect(
            own >= OWN_PART, f"{OWN_PART} characters of two values of {what} differ", [one, other]
        )


def _common(one: str, other: str) -> int:
    """The length of their common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _derived(state: str) -> dict[str, str]:
    """What an observer of the URL can compute from the state, by how; base64 without its padding."""
    digest = sha256(state.encode()).digest()
    return {
        "the state itself": state,
        "the state in reverse": state[::-1],
        "base64url of the state": urlsafe_b64encode(state.encode()).decode().rstrip("="),
        "SHA-256 of the state in base64url": urlsafe_b64encode(digest).decode().rstrip("="),
        "SHA-256 of the state in hexadecimal": digest.hex(),
    }


@check("OAUTH-014", timeout=30)
async def a_repeated_redirect_uri_is_identical(workbench: Workbench) -> None:
    wanted, repeated = await _redirect_uris(workbench)
    workbench.expect(repeated in (wanted, None), f"redirect_uri={wanted} in the exchange, or none", repeated)


@check("OAUTH-047", timeout=30)
async def the_exchange_repeats_the_redirect_uri(workbench: Workbench) -> None:
    wanted, repeated = await _redirect_uris(workbench)
    workbench.expect(repeated == wanted, f"redirect_uri={wanted} in the exchange", repeated)


async def _redirect_uris(workbench: Workbench) -> tuple[str, str | None]:
    """Those of the authorization request and of the exchange of a sign-in, which may fail."""
    upstream = await workbench.oauth("a")
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        await workbench.eventually(
            lambda: upstream.exchanges, within=10.0, what="the proxy exchanges the code"
        )
    authorized, exchanged = flow_of(workbench, upstream)
    return authorized.params["redirect_uri"], exchanged.params.get("redirect_uri")


@check("OAUTH-015", timeout=30, slow=True)
async def the_authorization_request_names_the_resource(workbench: Workbench) -> None:
    upstreams = [
        await workbench.oauth("bare", script=Script(http=Http(path="/some/mcp"))),
        await workbench.oauth("slash", script=Script(http=Http(path="/some/mcp/"))),
        await server_with_two_scopes(workbench, "again", path="/some/mcp"),
    ]
    browser = workbench.browser()
    await _sign_in_and_again(workbench, *upstreams)
    for upstream in upstreams:
        for page in browser.pages_of(upstream):
            named = [value for name, value in page.pairs if name == "resource"]
            workbench.expect(named == [upstream.url], f"resource={upstream.url}, once", page)


@check("OAUTH-016", timeout=40, slow=True)
async def the_token_request_names_the_same_resource(workbench: Workbench) -> None:
    upstream, again = await workbench.oauth("a"), await server_with_two_scopes(workbench, "again")
    workbench.browser()
    await _sign_in_and_again(workbench, upstream, again)
    for mock, flow in (
        (upstream, flow_of(workbench, upstream)),
        *((again, flow) for flow in flows_of(workbench, again)),
    ):
        authorized, exchanged = flow
        wanted = authorized.params.get("resource", mock.url)
        workbench.expect(
            exchanged.params.get("resource") == wanted, f"resource={wanted} in the exchange", exchanged
        )


@check("OAUTH-017", timeout=30)
async def the_exchange_is_one_well_formed_post(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a")
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        await workbench.eventually(
            lambda: upstream.token_requests, within=10.0, what="a request reaches the token endpoint"
        )
        with workbench.must("the authorization server accepts the exchange"):
            await proxy.ready(upstream)
    workbench.expect(len(upstream.token_requests) == 1, "one request", upstream.token_requests)
    authorized, exchanged = flow_of(workbench, upstream)
    request = next(request for request in upstream.http if request.n == exchanged.n)
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    workbench.expect(request.method == "POST", "a POST", request)
    workbench.expect(kind == "application/x-www-form-urlencoded", "a form", request)
    workbench.expect("?" not in request.target, "no parameters in the URL", request)
    wanted = {
        "grant_type": "authorization_code",
        "code": authorized.issued["code"],
        "client_id": upstream.client_id,
    }
    for name, value in wanted.items():
        workbench.expect(exchanged.params.get(name) == value, f"{name}={value}", exchanged)
    workbench.expect("code_verifier" in exchanged.params, "a code_verifier", exchanged)
    workbench.expect("client_secret" not in exchanged.params, "no client secret", exchanged)


_LISTED = {"scopes_supported": ["meta:1", "meta:2"]}
#: names scopes in the challenge and in its metadata
_NAMES_SCOPES = OAuth(
    challenges=['Bearer scope="chal:1 chal:2", resource_metadata="$metadata"'], resource_fields=_LISTED
)


@check("OAUTH-050", timeout=40, slow=True)
async def a_code_that_may_be_used_up_is_not_sent_again(workbench: Workbench) -> None:
    grant = "authorization_code"
    faults = {
        "refused": Fault("token", grant=grant, status=400, body={"error": "invalid_grant"}),
        "silent": Fault("token", grant=grant, status=400),
        "broken": Fault("token", grant=grant, status=500),
    }
    good = await workbench.oauth("good")
    upstreams = [await workbench.oauth(name, OAuth(faults=[fault])) for name, fault in faults.items()]
    workbench.browser()
    async with workbench.proxy(good, *upstreams) as proxy:
        await proxy.handshake()
        with workbench.precondition("a sign-in works"):
            await must_sign_in(workbench, proxy, good)
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await proxy.wake(upstream.name)
                await workbench.eventually(
                    partial(getattr, upstream, "exchanges"), within=10.0, what="an exchange of the code"
                )
        await workbench.holds_for(3.0, partial(_must_have_each_code_once, workbench, upstreams))


def _must_have_each_code_once(workbench: Workbench, upstreams: list[ProtectedMockUpstream]) -> None:
    for upstream in upstreams:
        codes = [exchanged.params.get("code") for exchanged in upstream.exchanges]
        workbench.expect(len(codes) == len(set(codes)), f"each code once at {upstream.name}", codes)


@check("OAUTH-018", timeout=30)
async def configured_scopes_are_requested(workbench: Workbench) -> None:
    scopes = ["conf:1", "conf:2"]
    upstream = await workbench.oauth("configured", _NAMES_SCOPES, oauth_scopes=scopes)
    await _must_ask_for(workbench, {" ".join(scopes): upstream})


@check("OAUTH-035", timeout=30, slow=True)
async def scopes_come_from_the_challenge_then_from_the_metadata(workbench: Workbench) -> None:
    upstreams = {
        "chal:1 chal:2": await workbench.oauth("challenged", _NAMES_SCOPES),
        "meta:1 meta:2": await workbench.oauth("listed", OAuth(resource_fields=_LISTED)),
        None: await workbench.oauth("without"),
    }
    await _must_ask_for(workbench, upstreams)


async def _must_ask_for(workbench: Workbench, upstreams: Mapping[str | None, ProtectedMockUpstream]) -> None:
    """Raise `Violation` unless the sign-in to each upstream requests the scopes that are its key, in any order."""
    browser = workbench.browser()
    async with workbench.proxy(*upstreams.values()) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams.values())
    for wanted, upstream in upstreams.items():
        pages = browser.pages_of(upstream)
        workbench.expect(pages, f"a page for {upstream.name}", browser.openings)
        for page in pages:
            scope = page.params.get("scope")
            same = (
                sorted(scope.split(" ")) == sorted(wanted.split(" ")) if scope and wanted else scope == wanted
            )
            workbench.expect(same, f"scope={wanted}" if wanted else "no scope", page)


@check("OAUTH-019", timeout=30)
async def the_query_of_the_authorization_endpoint_survives(workbench: Workbench) -> None:
    fields = {"authorization_endpoint": "$issuer/authorize?tenant=1"}
    upstream = await workbench.oauth("a", OAuth(server_fields=fields))
    browser = workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        page = await browser.opened()
        names = [name for name, _ in page.pairs]
        workbench.expect(page.url.count("?") == 1, "one question mark", page)
        workbench.expect(page.params.get("tenant") == "1", "tenant=1", page)
        workbench.expect(len(names) == len(set(names)), "every parameter once", page)
        workbench.expect(urlsplit(page.url).path == "/authorize", "the path of the endpoint", page)
        await must_sign_in(workbench, proxy, upstream)
