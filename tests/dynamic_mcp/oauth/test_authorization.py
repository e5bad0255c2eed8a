"""Refused tokens, the origin of tokens, sign-ins, and the close of an authorization."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest
import respx

from dynamic_mcp.config.model import OAuthSettings, RemoteTransport
from dynamic_mcp.errors import SignInMayHelp, SignInNeeded, UpstreamFailed
from dynamic_mcp.oauth import fresh_tokens
from dynamic_mcp.oauth import store as store_module
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.new_tokens import PATIENCE
from dynamic_mcp.oauth.sign_in_limit import MAX_SIGN_INS, SIGN_IN_PERIOD
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from dynamic_mcp.secret import Secret
from tests.dynamic_mcp.clocks import ManualClock
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    CODE,
    DAY,
    ISSUER,
    KEY,
    REFRESH,
    REGISTER,
    SERVER_METADATA,
    TOKEN,
    URL,
    Make,
    SlowAnswer,
    User,
    accept,
    form_of,
    grant,
    handle,
    publish,
    query_of,
    refuse,
    renewals,
    resource_metadata,
    server_metadata,
    stored,
    transport,
    visit,
)

pytestmark = pytest.mark.usefixtures("routes")

NEED = SignInNeeded("it needs you to sign in", challenge=Challenge())

# A refusal by the server


async def test_refused_token_is_renewed_before_it_is_due(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    route = renewals(grant(1))
    authorization = make()

    await refuse(authorization, await authorization.bearer(), Challenge())
    assert await authorization.bearer() == f"{ACCESS}-1"
    # A late refusal of the old token does not renew again.
    await refuse(authorization, f"{ACCESS}-0", Challenge())
    assert len(route.calls) == 1


@pytest.mark.parametrize("issuer", [ISSUER, "https://other.test"])
async def test_calls_that_are_refused_together_renew_once(make: Make, store: FileStore, issuer: str) -> None:
    """One asks for the metadata while the other one renews. The server may name another issuer to it."""
    store.save(stored(DAY))
    route = renewals(grant(1), grant(2))
    slow = SlowAnswer(httpx.Response(200, json=resource_metadata(authorization_servers=[issuer])))
    authorization = make()
    used = await authorization.bearer()
    resource = respx.get("https://mcp.test/.well-known/oauth-protected-resource/public/mcp")
    resource.mock(side_effect=slow)
    late = asyncio.create_task(refuse(authorization, used, Challenge()))
    await slow.wait_for_first_request()
    resource.mock(return_value=httpx.Response(404))
    await refuse(authorization, used, Challenge())
    slow.go.set()
    await late

    assert await authorization.bearer() == f"{ACCESS}-1"
    assert len(route.calls) == 1


@pytest.mark.parametrize("tokens", [None, stored(None, refresh_token=None)])
async def test_refusal_without_a_refresh_token_needs_the_user(
    make: Make, store: FileStore, tokens: Tokens | None
) -> None:
    if tokens is not None:
        store.save(tokens)
    authorization = make()
    challenge = Challenge(scope="a")

    with pytest.raises(SignInNeeded) as raised:
        await refuse(authorization, await authorization.bearer(), challenge)
    assert raised.value.challenge == challenge


async def test_failed_renewal_of_a_refused_token_does_not_need_the_user(make: Make, store: FileStore) -> None:
    store.save(stored(100.0))
    renewals(httpx.Response(503), httpx.Response(503))
    authorization = make()
    used = await authorization.bearer()

    # The second time sends no request, because the renewal failed a moment ago.
    for _ in range(2):
        with pytest.raises(
            UpstreamFailed, match=r"cannot be renewed yet: its token endpoint .* HTTP 503$"
        ) as raised:
            await refuse(authorization, used, Challenge())
        assert not isinstance(raised.value, SignInNeeded)


async def refused_new(authorization: Authorization, token: str) -> UpstreamFailed:
    """The failure if the server refuses this new token, which stays in use. No sign-in begins."""
    with pytest.raises(SignInMayHelp) as raised:
        await refuse(authorization, token, Challenge())
    assert await authorization.bearer() == token
    assert raised.value.remedy.splitlines() == [
        "If this does not pass, sign in again. Run: dynamic-mcp logout docs",
        "and then: dynamic-mcp login docs",
    ]
    return raised.value


async def test_refused_token_of_a_renewal_needs_the_user_only_after_a_while(
    make: Make, store: FileStore
) -> None:
    """The server may learn of a new token late, or its own check of tokens may be down."""
    store.save(stored(DAY))
    route = renewals(grant(1))
    clock = ManualClock()
    authorization = make(clock=clock)
    await refuse(authorization, await authorization.bearer(), Challenge())

    for _ in range(2):
        assert "has just issued" in str(await refused_new(authorization, f"{ACCESS}-1"))
    clock.advance(PATIENCE)
    for _ in range(2):
        with pytest.raises(SignInNeeded):
            await refuse(authorization, f"{ACCESS}-1", Challenge())
    assert len(route.calls) == 1
    # The server takes it after all.
    assert await authorization.bearer() == f"{ACCESS}-1"
    assert store.load() is not None


async def test_token_that_the_server_took_once_is_renewed_at_once(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    renewals(grant(1), grant(2))
    authorization = make()
    await refuse(authorization, await authorization.bearer(), Challenge())
    accept(authorization, f"{ACCESS}-0")
    await refused_new(authorization, f"{ACCESS}-1")
    accept(authorization, f"{ACCESS}-1")

    await refuse(authorization, f"{ACCESS}-1", Challenge())
    assert await authorization.bearer() == f"{ACCESS}-2"


async def test_sign_in_whose_tokens_the_server_refuses_opens_no_other_page(make: Make) -> None:
    publish()
    route = renewals(grant(1), grant(2), grant(3), httpx.Response(400, json={"error": "invalid_grant"}))
    user, clock = User(), ManualClock()
    authorization = make(user, clock=clock)
    await authorization.sign_in(NEED)

    for number in (1, 2, 3):
        for _ in range(2):
            assert "just succeeded" in str(await refused_new(authorization, f"{ACCESS}-{number}"))
        clock.advance(PATIENCE)
        if number < 3:
            await refuse(authorization, f"{ACCESS}-{number}", Challenge())
    assert len(route.calls) == 3
    # The authorization server has forgotten the sign-in.
    with pytest.raises(SignInNeeded):
        await refuse(authorization, f"{ACCESS}-3", Challenge())
    assert len(user.addresses) == 1


async def test_sign_in_without_a_refresh_token_opens_no_other_page(make: Make) -> None:
    publish()
    renewals(grant(1, refresh_token=None))
    user, clock = User(), ManualClock()
    authorization = make(user, clock=clock)
    await authorization.sign_in(NEED)

    await refused_new(authorization, f"{ACCESS}-1")
    clock.advance(PATIENCE)
    await refused_new(authorization, f"{ACCESS}-1")
    accept(authorization, f"{ACCESS}-1")
    with pytest.raises(SignInNeeded):
        await refuse(authorization, f"{ACCESS}-1", Challenge())
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_two_processes_do_not_renew_in_turn_while_the_server_refuses_all_tokens(
    make: Make, store: FileStore
) -> None:
    store.save(stored(DAY))
    route = renewals(grant(1), grant(2))
    one, other = make(), make()
    assert [await each.bearer() for each in (one, other)] == [f"{ACCESS}-0"] * 2
    await refuse(one, f"{ACCESS}-0", Challenge())
    await refuse(other, f"{ACCESS}-0", Challenge())
    await refuse(other, f"{ACCESS}-1", Challenge())

    await refuse(one, f"{ACCESS}-1", Challenge())
    for _ in range(2):
        for each in (one, other):
            await refused_new(each, f"{ACCESS}-2")
    assert len(route.calls) == 2


async def test_tokens_that_the_user_has_confirmed_end_the_wait(make: Make, store: FileStore) -> None:
    store.save(stored(DAY, refresh_token=None))
    publish()
    waiting, later = make(User(None)), make()
    with pytest.raises(SignInNeeded) as raised:
        await refuse(waiting, await waiting.bearer(), Challenge())
    assert not await waiting.tokens.adopt_newer()

    async with asyncio.timeout(10):
        sign_in = asyncio.create_task(waiting.sign_in(raised.value))
        await later.tokens.confirm()
        await sign_in
    assert await waiting.bearer() == f"{ACCESS}-0"
    # Once: the next refusal needs the user again.
    with pytest.raises(SignInNeeded):
        await refuse(waiting, f"{ACCESS}-0", Challenge())


async def test_refusal_of_the_token_itself_may_have_the_status_403(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    renewals(grant(1))
    authorization = make()

    assert not await handle(authorization, 403, None, 'Bearer error="invalid_token"')
    assert await handle(authorization, 403, f"{ACCESS}-0", 'Bearer error="invalid_token"')
    assert await authorization.bearer() == f"{ACCESS}-1"


@pytest.mark.parametrize(
    ("settings", "applies"),
    [
        (transport(), True),
        (transport(client_id=None), True),
        (transport(URL, "app", (), "AUTHORIZATION"), True),
        (transport(URL, None, (), "authorization"), False),
        (transport(URL, None, (), "X-Key"), True),
    ],
)
async def test_configured_header_without_a_client_id_replaces_oauth(
    make: Make, settings: RemoteTransport, applies: bool
) -> None:
    authorization = make(None, settings)
    if applies:
        with pytest.raises(SignInNeeded):
            await handle(authorization, 401, None, "")
    else:
        assert not await handle(authorization, 401, None, "")


# The user


async def test_sign_in_gives_a_bearer_and_a_file(make: Make, store: FileStore) -> None:
    publish()
    renewals(grant(1))
    authorization = make(User())
    assert await authorization.bearer() is None

    await authorization.sign_in(NEED)
    assert await authorization.bearer() == f"{ACCESS}-1"
    assert await make().bearer() == f"{ACCESS}-1"


async def test_concurrent_callers_share_one_sign_in(make: Make) -> None:
    publish()
    renewals(grant(1))
    user = User()
    authorization = make(user)

    await asyncio.gather(*(authorization.sign_in(NEED) for _ in range(5)))
    assert len(user.addresses) == 1


async def test_cancelled_caller_does_not_end_the_sign_in_for_others(make: Make) -> None:
    publish()
    renewals(grant(1))
    user = User(None)
    authorization = make(user)
    impatient, patient = (asyncio.create_task(authorization.sign_in(NEED)) for _ in range(2))
    async with asyncio.timeout(10):
        await user.shown.wait()
        impatient.cancel()
        await asyncio.wait({impatient})
        sent_query = query_of(user.addresses[0])
        page = await visit(f"{sent_query['redirect_uri']}?code={CODE}&state={sent_query['state']}")
        await patient

    assert "Signed in" in page
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_step_up_requests_the_granted_and_the_missing_scope(make: Make, store: FileStore) -> None:
    store.save(stored(DAY, scope="a"))
    publish()
    renewals(grant(1))
    user = User()
    authorization = make(user)
    assert await authorization.bearer() == f"{ACCESS}-0"

    await authorization.sign_in(
        SignInNeeded("more", challenge=Challenge(scope="b", error="insufficient_scope"))
    )
    assert query_of(user.addresses[0])["scope"] == "a b"
    assert await authorization.bearer() == f"{ACCESS}-1"


MORE = 'Bearer error="insufficient_scope", scope="b c"'


async def stepped_up(authorization: Authorization) -> None:
    """Sign in again, because the server asks for the scopes of ``MORE``."""
    with pytest.raises(SignInNeeded) as raised:
        await handle(authorization, 403, await authorization.bearer(), MORE)
    await authorization.sign_in(raised.value)


@pytest.mark.parametrize("scope", [None, ""])
async def test_refusal_without_a_scope_opens_one_page(
    make: Make, store: FileStore, scope: str | None
) -> None:
    store.save(stored(DAY, scope="a"))
    publish(resource_metadata(scopes_supported=["a", "b"]))
    respx.post(TOKEN).mock(return_value=grant(1, scope="a"))
    user = User()
    named = "" if scope is None else f', scope="{scope}"'

    for authorization in (make(user), make(user)):
        for _ in range(MAX_SIGN_INS + 1):
            with pytest.raises(SignInNeeded) as raised:
                await handle(
                    authorization,
                    403,
                    await authorization.bearer(),
                    f'Bearer error="insufficient_scope"{named}',
                )
            if user.addresses:
                with pytest.raises(UpstreamFailed, match="does not say which scope is missing"):
                    await authorization.sign_in(raised.value)
            else:
                await authorization.sign_in(raised.value)

    assert [query_of(address)["scope"] for address in user.addresses] == ["a b"]


def machine(**settings: object) -> RemoteTransport:
    oauth = OAuthSettings(client_secret=Secret(KEY), grant="client_credentials")
    return msgspec.structs.replace(transport(), oauth=msgspec.structs.replace(oauth, **settings))


async def test_machine_gets_tokens_by_itself(make: Make, store: FileStore) -> None:
    publish(server=server_metadata(authorization_endpoint=None, code_challenge_methods_supported=None))
    route = renewals(grant(1), grant(2), grant(3, expires_in=1))
    user = User()
    authorization = make(user, machine())

    await refuse(authorization, None, Challenge(scope="a"))
    assert await authorization.bearer() == f"{ACCESS}-1"
    with pytest.raises(UpstreamFailed, match="has just issued"):
        await refuse(authorization, f"{ACCESS}-1", Challenge())
    accept(authorization, f"{ACCESS}-1")
    await refuse(authorization, f"{ACCESS}-1", Challenge())
    assert await authorization.bearer() == f"{ACCESS}-2"
    accept(authorization, f"{ACCESS}-2")
    assert await handle(authorization, 403, f"{ACCESS}-2", str(MORE))
    assert await authorization.bearer() == f"{ACCESS}-3"

    assert user.addresses == []
    sent = [form_of(call.request) for call in route.calls]
    assert [form["grant_type"] for form in sent] == ["client_credentials"] * 3
    saved = store.load()
    assert saved is not None
    assert (saved.machine, saved.refresh_token) == (True, None)
    assert KEY not in msgspec.json.encode(saved).decode()


@pytest.mark.parametrize("requested", ["api://x/.default", None])
async def test_machine_renews_with_the_scopes_that_it_requested(
    make: Make, store: FileStore, requested: str | None
) -> None:
    """The granted scopes may be names that the authorization server does not take in a request."""
    store.save(stored(machine=True, refresh_token=None, requested=requested, scope="read write"))
    route = renewals(grant(1, scope="read write"))

    assert await make(None, machine()).bearer() == f"{ACCESS}-1"
    assert form_of(route.calls.last.request).get("scope") == requested


async def test_refused_machine_does_not_ask_with_every_request(make: Make) -> None:
    publish()
    route = respx.post(TOKEN).respond(401, json={"error": "invalid_client"})
    authorization = make(None, machine())

    for _ in range(3):
        with pytest.raises(UpstreamFailed, match="check the client_id"):
            await refuse(authorization, None, Challenge())

    # The second request has another form of the same authentication.
    assert len(route.calls) <= 3


@pytest.mark.parametrize("scope", ["b c", "c b b", "c"])
async def test_step_up_that_did_not_help_does_not_begin_again(
    make: Make, store: FileStore, scope: str
) -> None:
    store.save(stored(DAY))
    publish()
    respx.post(TOKEN).mock(side_effect=[grant(1), grant(2)])
    user = User()
    authorization = make(user)
    await stepped_up(authorization)

    refusal = f'Bearer error="insufficient_scope", scope="{scope}"'
    for _ in range(3):
        with pytest.raises(UpstreamFailed, match="still refuses the call") as raised:
            await handle(authorization, 403, await authorization.bearer(), refusal)
        assert raised.value.remedy.splitlines() == [
            "To be asked again, run: dynamic-mcp logout docs",
            "and then: dynamic-mcp login docs",
        ]
        assert not isinstance(raised.value, SignInNeeded)
    assert len(user.addresses) == 1
    # Other scopes are another question, and so are tokens that the user got elsewhere.
    with pytest.raises(SignInNeeded):
        await handle(
            authorization, 403, await authorization.bearer(), 'Bearer error="insufficient_scope", scope="d"'
        )
    store.save(stored(DAY, 7))
    assert await handle(authorization, 403, await authorization.bearer(), MORE)
    with pytest.raises(SignInNeeded):
        await handle(authorization, 403, await authorization.bearer(), MORE)


async def test_missing_scope_leads_to_a_step_up_with_the_status_401_too(make: Make, store: FileStore) -> None:
    """A renewal would give the same scopes."""
    store.save(stored(DAY, scope="a"))
    publish()
    route = renewals(grant(1))
    user = User()
    authorization = make(user)

    with pytest.raises(SignInNeeded) as raised:
        await handle(authorization, 401, await authorization.bearer(), MORE)
    await authorization.sign_in(raised.value)
    with pytest.raises(UpstreamFailed, match="still refuses the call"):
        await handle(authorization, 401, await authorization.bearer(), MORE)
    assert [query_of(address)["scope"] for address in user.addresses] == ["a b c"]
    assert [form_of(call.request)["grant_type"] for call in route.calls] == ["authorization_code"]


async def test_late_refusal_of_scopes_does_not_step_up_again(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    publish()
    respx.post(TOKEN).mock(return_value=grant(1))
    authorization = make(User())
    before = await authorization.bearer()
    await stepped_up(authorization)

    assert await handle(authorization, 403, before, MORE)


async def test_server_gets_few_sign_ins(make: Make, store: FileStore) -> None:
    publish()
    respx.post(TOKEN).mock(side_effect=[grant(number) for number in range(1, 9)])
    user = User()
    clock = ManualClock()
    authorization = make(user, clock=clock)
    for _ in range(MAX_SIGN_INS):
        await authorization.sign_in(NEED)

    with pytest.raises(UpstreamFailed, match="4 sign-ins within 10 minutes") as raised:
        await authorization.sign_in(NEED)
    assert raised.value.remedy == "To sign in, run: dynamic-mcp login docs"
    assert len(user.addresses) == MAX_SIGN_INS
    clock.advance(SIGN_IN_PERIOD)
    await authorization.sign_in(NEED)
    assert len(user.addresses) == MAX_SIGN_INS + 1


async def test_failures_before_the_browser_are_no_sign_ins(make: Make) -> None:
    publish()
    respx.get(SERVER_METADATA).respond(503)
    authorization = make(User())
    for _ in range(2 * MAX_SIGN_INS):
        with pytest.raises(UpstreamFailed, match="HTTP 503"):
            await authorization.sign_in(NEED)


@pytest.mark.parametrize("before", [None, -1.0, DAY])
async def test_declined_sign_in_does_not_start_again(
    make: Make, store: FileStore, before: float | None
) -> None:
    if before is not None:
        # The authorization server refuses their grant.
        store.save(stored(before))
        respx.post(TOKEN).respond(400, json={"error": "invalid_grant"})
    publish()
    user = User("error=access_denied")
    authorization = make(user)
    with pytest.raises(SignInNeeded):
        await refuse(authorization, await authorization.bearer(), Challenge())

    for _ in range(3):
        with pytest.raises(UpstreamFailed, match="access_denied") as raised:
            await authorization.sign_in(NEED)
        assert raised.value.remedy == "To try again, run: dynamic-mcp login docs"
    assert len(user.addresses) == 1

    # The user signed in with another process.
    store.save(stored(DAY, 7))
    await authorization.sign_in(NEED)
    assert await authorization.bearer() == f"{ACCESS}-7"
    assert len(user.addresses) == 1


async def test_failure_before_the_browser_is_not_a_decline(make: Make) -> None:
    publish()
    respx.get(SERVER_METADATA).mock(
        side_effect=[httpx.Response(503), httpx.Response(200, json=server_metadata())]
    )
    renewals(grant(1))
    user = User()
    authorization = make(user)

    with pytest.raises(UpstreamFailed, match=r"HTTP 503$"):
        await authorization.sign_in(NEED)
    await authorization.sign_in(NEED)
    assert await authorization.bearer() == f"{ACCESS}-1"


@pytest.mark.parametrize("met_by", ["the renewal", "the page", "the sign-in"])
async def test_forgotten_registration_is_replaced(make: Make, store: FileStore, met_by: str) -> None:
    """The next sign-in registers, in this process or with ``dynamic-mcp login``."""
    client = ClientRegistration("old", None, "none", "http://127.0.0.1:1/oauth/callback", registered=True)
    port = await free_port()
    client = msgspec.structs.replace(client, redirect_uri=f"http://127.0.0.1:{port}/oauth/callback")
    store.save(stored(-1.0 if met_by == "the renewal" else None, client=client))
    publish()
    register = respx.post(REGISTER).respond(201, json={"client_id": "new"})
    refusal = httpx.Response(401, json={"error": "invalid_client"})
    renewals(*([refusal] if met_by != "the page" else []), grant(1))
    settings = transport(client_id=None)
    user = User()
    if met_by == "the renewal":
        assert await make(None, settings).bearer() is None
    else:
        with pytest.raises(UpstreamFailed, match="invalid_client"):
            await make(User("error=invalid_client") if met_by == "the page" else user, settings).sign_in(NEED)
    assert not register.called

    authorization = make(user, settings)
    await authorization.sign_in(NEED)
    assert query_of(user.addresses[-1])["client_id"] == "new"
    assert await authorization.bearer() == f"{ACCESS}-1"


async def free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.mark.parametrize("end", ["patience", "close"])
async def test_new_tokens_are_stored_even_if_the_lock_is_held(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT", 0.1 if end == "patience" else 30.0)
    publish()
    token = renewals(grant(1))
    user = User()
    authorization = make(user)
    async with asyncio.timeout(10), store.lock():
        signing_in = asyncio.create_task(authorization.sign_in(NEED))
        await eventually(lambda: token.called and user.pages, "the user is done")
        if end == "close":
            await authorization.close()
        await asyncio.wait({signing_in})

    kept = store.load()
    assert kept is not None
    assert kept.access_token == f"{ACCESS}-1"


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        (f"socks5://user:{KEY}@proxy.test:1", "neither http:// nor https://"),
        (f"gopher://user:{KEY}@proxy.test:1", "neither http:// nor https://"),
        (f"http://user:{KEY}@proxy.test:port", "cannot be used for signing in"),
    ],
)
async def test_unusable_proxy_is_a_failure_of_the_server(
    make: Make, monkeypatch: pytest.MonkeyPatch, proxy: str, reason: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(UpstreamFailed, match=reason) as raised:
        await make().sign_in(NEED)
    assert KEY not in str(raised.value)


# The end


async def test_close_does_not_wait_for_the_user(make: Make) -> None:
    publish()
    user = User(None)
    authorization = make(user)
    signing_in = asyncio.create_task(authorization.sign_in(NEED))
    async with asyncio.timeout(10):
        await user.shown.wait()
    async with asyncio.timeout(1):
        await authorization.close()
        await asyncio.wait({signing_in})

    with pytest.raises(UpstreamFailed, match=fresh_tokens.CLOSED):
        signing_in.result()


async def test_close_waits_for_a_renewal(make: Make, store: FileStore) -> None:
    store.save(stored())
    slow = SlowAnswer(grant(1))
    respx.post(TOKEN).mock(side_effect=slow)
    authorization = make()
    caller = asyncio.create_task(authorization.bearer())
    await slow.wait_for_first_request()
    caller.cancel()
    closing = asyncio.create_task(authorization.close())
    await asyncio.sleep(0)
    slow.go.set()
    async with asyncio.timeout(10):
        await closing

    kept = store.load()
    assert kept is not None
    assert kept.refresh_token == f"{REFRESH}-1"


async def test_close_waits_only_shortly_for_a_renewal(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh_tokens.RENEWAL_GRACE < 3
    monkeypatch.setattr(fresh_tokens, "RENEWAL_GRACE", 0.1)
    store.save(stored())
    slow = SlowAnswer(grant(1))
    respx.post(TOKEN).mock(side_effect=slow)
    authorization = make()
    caller = asyncio.create_task(authorization.bearer())
    await slow.wait_for_first_request()
    async with asyncio.timeout(1):
        await authorization.close()
        await asyncio.wait({caller})

    with pytest.raises(UpstreamFailed, match=fresh_tokens.CLOSED):
        caller.result()
    assert store.load() == stored(expires_at=getattr(store.load(), "expires_at", None))


async def test_exceptions_show_no_secret(make: Make, store: FileStore) -> None:
    """Neither the text of an exception nor its causes."""
    store.save(stored(-1.0))
    publish()
    respx.post(TOKEN).mock(side_effect=httpx.ConnectError(f"{KEY} {REFRESH} {CODE}"))
    authorization = make(User())

    with pytest.raises(UpstreamFailed) as renewing:
        await authorization.bearer()
    with pytest.raises(UpstreamFailed) as signing_in:
        await authorization.sign_in(NEED)
    for error in (renewing.value, signing_in.value):
        shown: BaseException | None = error
        while shown is not None:
            assert not any(secret in repr(shown) for secret in (KEY, REFRESH, CODE))
            shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
