"""A whole sign-in: the address for the user, the checks of the answer, and the stored tokens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import respx

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import signin
from dynamic_mcp.oauth.callback import listening
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.scopes import NothingToAsk
from dynamic_mcp.oauth.sign_in_request import SignInRequest
from dynamic_mcp.oauth.signin import sign_in
from dynamic_mcp.oauth.token_endpoint import GrantRefused
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    CODE,
    ISSUER,
    KEY,
    REFRESH,
    REGISTER,
    TOKEN,
    URL,
    SlowAnswer,
    User,
    form_of,
    granted,
    publish,
    query_of,
    resource_metadata,
    server_metadata,
    visit,
)

REQUEST = SignInRequest("docs", URL, "app", ())
UNREGISTERED = msgspec.structs.replace(REQUEST, client_id=None)
EXTRA = "iss=" + ISSUER


async def attempt(
    http: httpx.AsyncClient,
    user: User | None = None,
    request: SignInRequest = REQUEST,
    challenge: Challenge | None = None,
) -> Tokens:
    async with asyncio.timeout(10):
        return await sign_in(http, request, challenge or Challenge(), (user or User()).show_address)


async def test_sign_in_requests_and_tokens(http: httpx.AsyncClient) -> None:
    publish()
    token = respx.post(TOKEN).respond(json=granted())
    user = User(f"code={CODE}%2B%2F%26%3D")

    tokens = await attempt(http, user)

    (address,) = user.addresses
    sent_query, sent = query_of(address), form_of(token.calls.last.request)
    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
    assert address.startswith(f"{ISSUER}/authorize?tenant=1&")
    assert sent_query == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": sent["redirect_uri"],
        "state": sent_query["state"],
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": URL,
    }
    assert sent == {
        "grant_type": "authorization_code",
        "code": f"{CODE}+/&=",
        "redirect_uri": sent_query["redirect_uri"],
        "code_verifier": sent["code_verifier"],
        "resource": URL,
        "client_id": "app",
    }
    assert len(token.calls) == 1
    assert tokens == Tokens(
        f"{ACCESS}-1",
        f"{REFRESH}-1",
        tokens.expires_at,
        server="docs",
        resource=URL,
        issuer=ISSUER,
        token_endpoint=TOKEN,
        lifetime=3600.0,
        client=ClientRegistration("app"),
    )
    page = await user.page()
    assert "docs can be used now" in page
    assert not any(
        secret in page for secret in (CODE, ACCESS, REFRESH, sent["code_verifier"], sent_query["state"])
    )


async def test_each_attempt_has_its_own_secrets(http: httpx.AsyncClient) -> None:
    publish()
    respx.post(TOKEN).respond(json=granted())
    user = User()
    for _ in range(3):
        await attempt(http, user)

    for name in ("state", "code_challenge"):
        assert len({query_of(address)[name] for address in user.addresses}) == 3


async def test_secrets_of_the_configured_url_are_not_sent(http: httpx.AsyncClient) -> None:
    own = "https://mcp.test/.well-known/oauth-authorization-server"
    respx.get(own).respond(json=server_metadata(issuer="https://mcp.test"))
    respx.post(TOKEN).respond(json=granted())
    user = User()
    url = f"https://user:{KEY}@mcp.test/public/mcp?key={KEY}"

    tokens = await attempt(http, user, msgspec.structs.replace(REQUEST, url=url))

    assert tokens.resource == URL
    assert KEY not in user.addresses[0]


async def test_parameters_override_the_query_of_the_endpoint(http: httpx.AsyncClient) -> None:
    endpoint = f"{ISSUER}/authorize?tenant=a+b&empty=&state=theirs&client_id=theirs"
    publish(server=server_metadata(authorization_endpoint=endpoint))
    respx.post(TOKEN).respond(json=granted())
    user = User()

    await attempt(http, user)

    sent_query = query_of(user.addresses[0])
    assert (sent_query["tenant"], sent_query["empty"], sent_query["client_id"]) == ("a b", "", "app")


@pytest.mark.parametrize(
    ("configured", "challenge", "supported", "granted_before", "scope"),
    [
        ((), Challenge(), None, None, None),
        ((), Challenge(), [], None, None),
        ((), Challenge(), ["p", "q"], None, "p q"),
        ((), Challenge(scope="c"), ["p"], None, "c"),
        ((), Challenge(scope=""), ["p"], None, None),
        (("a", "b"), Challenge(scope="c"), ["p"], None, "a b"),
        ((), Challenge(scope="c"), None, "old", "c"),
        ((), Challenge(scope="c c"), None, None, "c"),
        # A step-up: the granted scope, and the missing one.
        ((), Challenge(scope="c", error="insufficient_scope"), ["p"], "old", "old c"),
        ((), Challenge(scope="c old", error="insufficient_scope"), None, "old b", "old b c"),
        (("a",), Challenge(scope="c", error="insufficient_scope"), None, None, "a c"),
        (("a",), Challenge(scope="c", error="insufficient_scope"), None, "a b", "a b c"),
        ((), Challenge(error="insufficient_scope"), ["p", "old"], "old", "old p"),
        ((), Challenge(scope="c", error="invalid_token"), None, "old", "c"),
    ],
)
async def test_requested_scope(
    http: httpx.AsyncClient,
    configured: tuple[str, ...],
    challenge: Challenge,
    supported: list[str] | None,
    granted_before: str | None,
    scope: str | None,
) -> None:
    publish(resource_metadata(scopes_supported=supported))
    respx.post(TOKEN).respond(json=granted())
    user = User()
    request = msgspec.structs.replace(REQUEST, scopes=configured, granted=granted_before)

    tokens = await attempt(http, user, request, challenge)

    assert query_of(user.addresses[0]).get("scope") == scope
    assert tokens.scope == scope


@pytest.mark.parametrize(("supported", "before"), [(None, None), (["old"], None), (["old", "p"], "old p")])
async def test_without_a_missing_scope_no_page_opens(
    http: httpx.AsyncClient, supported: list[str] | None, before: str | None
) -> None:
    publish(resource_metadata(scopes_supported=supported))
    user = User()
    request = msgspec.structs.replace(REQUEST, granted="old", requested=before)

    with pytest.raises(NothingToAsk, match="does not say which scope is missing"):
        await attempt(http, user, request, Challenge(error="insufficient_scope"))

    assert user.addresses == []


@pytest.mark.parametrize(
    ("configured", "supported", "offered", "scope"),
    [
        ((), ["p"], ["openid", "offline_access"], "p offline_access"),
        ((), ["offline_access", "p"], ["offline_access"], "offline_access p"),
        ((), ["p"], ["openid"], "p"),
        ((), ["p"], None, "p"),
        # Alone it would replace the default scopes.
        ((), None, ["offline_access"], None),
        (("a",), ["p"], ["offline_access"], "a"),
    ],
)
async def test_offline_access_is_requested_where_it_is_offered(
    http: httpx.AsyncClient,
    configured: tuple[str, ...],
    supported: list[str] | None,
    offered: list[str] | None,
    scope: str | None,
) -> None:
    publish(resource_metadata(scopes_supported=supported), server_metadata(scopes_supported=offered))
    respx.post(TOKEN).respond(json=granted())
    user = User()

    await attempt(http, user, msgspec.structs.replace(REQUEST, scopes=configured))

    query = query_of(user.addresses[0])
    assert query.get("scope") == scope
    # A configured client may have the consent of an administrator.
    assert "prompt" not in query


@pytest.mark.parametrize(
    ("given", "offered", "scope", "prompt"),
    [
        (None, ["openid", "offline_access"], "p offline_access", "consent"),
        ("p offline_access", ["openid", "offline_access"], "p offline_access", "consent"),
        (None, ["offline_access"], "p offline_access", None),
        # The server gave the registration less than it offers.
        ("p", ["openid", "offline_access"], "p", None),
    ],
)
async def test_registered_client_asks_for_consent_with_openid(
    http: httpx.AsyncClient, given: str | None, offered: list[str], scope: str, prompt: str | None
) -> None:
    publish(resource_metadata(scopes_supported=["p"]), server_metadata(scopes_supported=offered))
    made = {"client_id": "made", **({} if given is None else {"scope": given})}
    registration = respx.post(REGISTER).respond(201, json=made)
    respx.post(TOKEN).respond(json=granted())
    user = User()

    await attempt(http, user, msgspec.structs.replace(REQUEST, client_id=None))

    query = query_of(user.addresses[0])
    assert (query.get("scope"), query.get("prompt")) == (scope, prompt)
    assert json.loads(registration.calls.last.request.content)["scope"] == "p offline_access"


@pytest.mark.parametrize(("wanted", "is_kept"), [("a", True), ("a b", True), ("a c", False)])
async def test_registration_is_kept_while_it_covers_the_scopes(
    http: httpx.AsyncClient, wanted: str, is_kept: bool
) -> None:
    publish()
    registration = respx.post(REGISTER).respond(201, json={"client_id": "new"})
    respx.post(TOKEN).respond(json=granted())
    user = User()
    async with listening("docs", "x") as free:
        redirect_uri = free.redirect_uri
    known = ClientRegistration("old", redirect_uri=redirect_uri, registered=True, scope="a b")
    request = msgspec.structs.replace(
        REQUEST, client_id=None, client=known, issuer=ISSUER, scopes=tuple(wanted.split())
    )

    await attempt(http, user, request)

    assert query_of(user.addresses[0])["client_id"] == ("old" if is_kept else "new")
    assert registration.called is not is_kept


async def test_granted_scope_is_stored(http: httpx.AsyncClient) -> None:
    publish(resource_metadata(scopes_supported=["a", "b"]))
    respx.post(TOKEN).respond(json=granted(scope="a"))

    assert (await attempt(http)).scope == "a"


@pytest.mark.parametrize("promised", [True, False])
@pytest.mark.parametrize(
    ("iss", "believed"),
    [
        (None, None),
        ("https%3A%2F%2Fas.test", True),
        ("https://as.test", True),
        ("https://as.test/", False),
        ("https://AS.test", False),
        ("https://as.test:443", False),
        ("https://evil.test", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("answer", [f"code={CODE}", f"error={KEY}"])
async def test_answer_must_come_from_the_right_issuer(
    http: httpx.AsyncClient, answer: str, promised: bool, iss: str | None, believed: bool | None
) -> None:
    publish(server=server_metadata(authorization_response_iss_parameter_supported=promised))
    token = respx.post(TOKEN).respond(json=granted())
    user = User(answer if iss is None else f"{answer}&iss={iss}")
    if believed is None:
        believed = not promised

    if believed and answer.startswith("code"):
        assert (await attempt(http, user)).access_token == f"{ACCESS}-1"
    else:
        with pytest.raises(UpstreamFailed) as raised:
            await attempt(http, user)
        assert ("another authorization server" in str(raised.value)) is not believed
        # The error of another server is not shown.
        assert (KEY in str(raised.value)) == (believed and answer.startswith("error"))
        assert not token.called
        assert "Not signed in" in await user.page()


@pytest.mark.parametrize(
    ("error", "shown"),
    [("access_denied", "access_denied"), ("%00%1b%0a%E2%80%AE", "no reason given"), ("x" * 100, "x" * 60)],
)
async def test_refusal_names_its_reason(http: httpx.AsyncClient, error: str, shown: str) -> None:
    publish()
    token = respx.post(TOKEN)

    with pytest.raises(
        UpstreamFailed,
        match=rf"^the sign-in was refused by its authorization endpoint {ISSUER}/authorize .{shown}.$",
    ):
        await attempt(http, User(f"error={error}"))
    assert not token.called


async def test_refused_code_is_not_sent_again(http: httpx.AsyncClient) -> None:
    publish()
    token = respx.post(TOKEN).respond(400, json={"error": "invalid_grant", "error_description": KEY})
    user = User()

    with pytest.raises(GrantRefused, match=r"did not succeed.*invalid_grant") as raised:
        await attempt(http, user)
    assert len(token.calls) == 1
    page = await user.page()
    assert "invalid_grant" in page
    assert not any(secret in f"{raised.value} {page}" for secret in (KEY, CODE))


async def test_failure_after_the_browser_is_not_transient(
    http: httpx.AsyncClient,
) -> None:
    publish()
    respx.post(TOKEN).respond(503)

    with pytest.raises(UpstreamFailed, match=r"did not succeed.*HTTP 503") as raised:
        await attempt(http)
    assert not isinstance(raised.value, TransientFailure)


@pytest.mark.parametrize("failure", ["metadata", "registration"])
async def test_failure_before_the_browser_is_transient(http: httpx.AsyncClient, failure: str) -> None:
    if failure == "registration":
        publish()
    respx.get("https://mcp.test/.well-known/oauth-protected-resource").respond(503)
    respx.post(REGISTER).respond(503)
    user = User()

    with pytest.raises(TransientFailure, match="HTTP 503"):
        await attempt(http, user, UNREGISTERED)
    assert user.addresses == []


async def test_sign_in_times_out(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "SIGN_IN_TIMEOUT", 0.1)
    publish()
    user = User(None)

    with pytest.raises(UpstreamFailed, match=r"^the user did not sign in within .* minutes$"):
        await attempt(http, user)
    with pytest.raises(ConnectionRefusedError):
        await visit(query_of(user.addresses[0])["redirect_uri"])


async def test_time_of_the_user_does_not_limit_the_exchange(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signin, "SIGN_IN_TIMEOUT", 1.0)
    publish()
    slow = SlowAnswer(httpx.Response(200, json=granted()))
    respx.post(TOKEN).mock(side_effect=slow)
    signing_in = asyncio.create_task(attempt(http))
    await slow.wait_for_first_request()
    await skip(2.0)
    slow.go.set()

    assert (await signing_in).access_token == f"{ACCESS}-1"


async def test_cancelled_sign_in_closes_its_listener(http: httpx.AsyncClient) -> None:
    publish()
    user = User(None)
    signing_in = asyncio.create_task(attempt(http, user))
    async with asyncio.timeout(10):
        await user.shown.wait()
    signing_in.cancel()
    await asyncio.wait({signing_in})

    assert signing_in.cancelled()
    with pytest.raises(ConnectionRefusedError):
        await visit(query_of(user.addresses[0])["redirect_uri"])


async def test_concurrent_sign_ins_do_not_mix_their_answers(http: httpx.AsyncClient) -> None:
    publish()
    token = respx.post(TOKEN).respond(json=granted())
    a, b = User(None), User(None)
    tasks = [asyncio.create_task(attempt(http, user)) for user in (a, b)]
    async with asyncio.timeout(10):
        await asyncio.gather(a.shown.wait(), b.shown.wait())
        (asked_a, asked_b) = (query_of(user.addresses[0]) for user in (a, b))
        crossed = await visit(f"{asked_b['redirect_uri']}?code=a&state={asked_a['state']}")
        assert "does not belong" in crossed
        pages = await asyncio.gather(
            visit(f"{asked_b['redirect_uri']}?code=b&state={asked_b['state']}"),
            visit(f"{asked_a['redirect_uri']}?code=a&state={asked_a['state']}"),
        )
        await asyncio.gather(*tasks)

    assert all("Signed in" in page for page in pages)
    for request in (call.request for call in token.calls):
        sent = form_of(request)
        sent_query = {"a": asked_a, "b": asked_b}[sent["code"]]
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == sent_query["code_challenge"]
        assert sent["redirect_uri"] == sent_query["redirect_uri"]


async def test_client_id_may_be_the_url_of_a_document(http: httpx.AsyncClient) -> None:
    publish()
    respx.post(TOKEN).respond(json=granted())
    register = respx.post(REGISTER).respond(201, json={"client_id": "made"})
    user, document = User(), "https://app.test/client.json?v=1"

    tokens = await attempt(http, user, msgspec.structs.replace(REQUEST, client_id=document))

    assert query_of(user.addresses[0])["client_id"] == document
    assert tokens.client == ClientRegistration(document)
    assert not register.called


async def test_registration_is_stored_and_used_again(http: httpx.AsyncClient) -> None:
    publish(server=server_metadata(token_endpoint_auth_methods_supported=["client_secret_basic"]))
    token = respx.post(TOKEN).respond(json=granted())
    register = respx.post(REGISTER).respond(201, json={"client_id": "made", "client_secret": KEY})
    user = User()

    tokens = await attempt(http, user, UNREGISTERED)

    redirect_uri = query_of(user.addresses[0])["redirect_uri"]
    assert tokens.client == ClientRegistration(
        "made", KEY, "client_secret_basic", redirect_uri, registered=True
    )
    assert token.calls.last.request.headers["Authorization"].startswith("Basic ")
    assert KEY not in user.addresses[0]
    assert len(register.calls) == 1

    again = msgspec.structs.replace(UNREGISTERED, client=tokens.client, issuer=tokens.issuer)
    renewed = await attempt(http, user, again)

    # The second sign-in uses the same registration and its port.
    assert renewed.client == tokens.client
    assert query_of(user.addresses[1])["redirect_uri"] == redirect_uri
    assert len(register.calls) == 1


async def test_page_that_may_refuse_an_old_registration_is_named(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    respx.post(REGISTER).respond(201, json={"client_id": "made"})
    respx.post(TOKEN).respond(json=granted())
    tokens = await attempt(http, User(), UNREGISTERED)
    monkeypatch.setattr(signin, "SIGN_IN_TIMEOUT", 0.1)

    with pytest.raises(UpstreamFailed, match=r"minutes; if its page refused the client.* dynamic-mcp logout"):
        await attempt(
            http,
            User(None),
            msgspec.structs.replace(UNREGISTERED, client=tokens.client, issuer=tokens.issuer),
        )


@pytest.mark.parametrize("reason", ["another issuer", "the port is taken"])
async def test_registration_that_does_not_fit_is_replaced(http: httpx.AsyncClient, reason: str) -> None:
    publish()
    respx.post(TOKEN).respond(json=granted())
    register = respx.post(REGISTER).respond(201, json={"client_id": "new"})
    user = User()
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        client = ClientRegistration(
            "old", None, "none", f"http://127.0.0.1:{port}/oauth/callback", registered=True
        )
        issuer = ISSUER if reason == "the port is taken" else "https://old.test"
        tokens = await attempt(
            http, user, msgspec.structs.replace(UNREGISTERED, client=client, issuer=issuer)
        )

    assert len(register.calls) == 1
    assert tokens.client is not None
    assert tokens.client.client_id == "new"
    assert urlsplit(query_of(user.addresses[0])["redirect_uri"]).port != port


@pytest.mark.parametrize(
    ("left", "registrations"), [(signin.SIGN_IN_TIMEOUT + 60, 1), (signin.SIGN_IN_TIMEOUT - 60, 2), (-60, 2)]
)
async def test_client_secret_about_to_expire_is_not_used(
    http: httpx.AsyncClient, left: float, registrations: int
) -> None:
    publish()
    respx.post(TOKEN).respond(json=granted())
    made = {"client_id": "made", "client_secret": KEY, "client_secret_expires_at": time.time() + left}
    register = respx.post(REGISTER).respond(201, json=made)

    tokens = await attempt(http, request=UNREGISTERED)
    again = msgspec.structs.replace(UNREGISTERED, client=tokens.client, issuer=tokens.issuer)
    await attempt(http, request=again)

    assert len(register.calls) == registrations
