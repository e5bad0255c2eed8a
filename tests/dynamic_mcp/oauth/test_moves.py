"""Renewals after the token endpoint or the authorization server has moved, and where a refresh token never goes."""

from __future__ import annotations

import httpx
import msgspec
import pytest
import respx

from dynamic_mcp.config.model import OAuthSettings, RemoteTransport
from dynamic_mcp.errors import SignInMayHelp, SignInNeeded, UpstreamFailed
from dynamic_mcp.oauth import moves
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.new_tokens import PATIENCE
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.secret import Secret
from tests.dynamic_mcp.clocks import ManualClock
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    ISSUER,
    KEY,
    REFRESH,
    SERVER_METADATA,
    TOKEN,
    Make,
    SlowAnswer,
    form_of,
    grant,
    publish,
    refuse,
    resource_metadata,
    server_metadata,
    stored,
    transport,
)

pytestmark = pytest.mark.usefixtures("routes")

MOVED = f"{ISSUER}/token2"
OTHER = "https://other.test"
PAGE = httpx.Response(404, text="<html>")
NOT_THERE = [
    PAGE,
    httpx.Response(405),
    httpx.Response(410, text="gone"),
    httpx.Response(403, text="<html>"),
    httpx.Response(404, json={"detail": "Not Found"}),
    httpx.Response(301, headers={"Location": "https://evil.test/token"}),
    httpx.Response(200, text="<html>"),
    httpx.ConnectError("[Errno -2] x"),
]


def leads_to(*answers: httpx.Response | Exception) -> respx.Route:
    """The old token endpoint gives these answers, and the last one again and again."""
    rest = [answers[-1]] * 5
    return respx.post(TOKEN).mock(side_effect=[*answers, *rest])


def sent_to() -> set[str]:
    """The addresses that got a refresh token or a secret."""
    return {
        str(call.request.url)
        for call in respx.calls
        if REFRESH in call.request.content.decode() or KEY in call.request.content.decode()
    }


@pytest.mark.parametrize("answer", NOT_THERE)
@pytest.mark.parametrize("left", [100.0, -1.0])
async def test_renewal_follows_a_moved_token_endpoint(
    make: Make, store: FileStore, answer: httpx.Response | Exception, left: float
) -> None:
    store.save(stored(left))
    old = leads_to(answer)
    publish(server=server_metadata(token_endpoint=MOVED))
    route = respx.post(MOVED).mock(side_effect=[grant(1, expires_in=200), grant(2)])

    assert await make().bearer() == f"{ACCESS}-1"
    kept = store.load()
    assert kept is not None
    assert (kept.token_endpoint, kept.issuer, kept.refresh_token) == (MOVED, ISSUER, f"{REFRESH}-1")

    # The next renewal knows the place.
    assert await make().bearer() == f"{ACCESS}-2"
    assert [form_of(call.request)["refresh_token"] for call in route.calls] == [
        f"{REFRESH}-{n}" for n in (0, 1)
    ]
    assert len(old.calls) == 1
    assert sent_to() == {TOKEN, MOVED}


async def test_refused_token_is_renewed_at_a_moved_endpoint(make: Make, store: FileStore) -> None:
    store.save(stored(86400.0))
    leads_to(PAGE)
    publish(server=server_metadata(token_endpoint=MOVED))
    respx.post(MOVED).mock(return_value=grant(1))
    authorization = make()

    await refuse(authorization, await authorization.bearer(), Challenge())
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_resource_needs_no_metadata_and_may_name_several_servers(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0))
    leads_to(PAGE)
    respx.get(SERVER_METADATA).respond(json=server_metadata(token_endpoint=MOVED))
    respx.post(MOVED).mock(side_effect=[grant(1, expires_in=200, refresh_token="r"), grant(2)])
    assert await make().bearer() == f"{ACCESS}-1"

    store.save(stored(-1.0))
    publish(
        resource_metadata(authorization_servers=[OTHER, f"{ISSUER}/"]), server_metadata(token_endpoint=MOVED)
    )
    assert await make().bearer() == f"{ACCESS}-2"


@pytest.mark.parametrize(
    "server",
    [
        server_metadata(issuer=OTHER, token_endpoint=f"{OTHER}/token"),
        server_metadata(token_endpoint="http://as.test/token2"),
        server_metadata(token_endpoint=f"{OTHER}/token", code_challenge_methods_supported=["plain"]),
        server_metadata(token_endpoint=None),
    ],
)
async def test_metadata_that_a_sign_in_refuses_name_no_token_endpoint(
    make: Make, store: FileStore, server: dict[str, object]
) -> None:
    store.save(stored(-1.0))
    leads_to(PAGE)
    publish(server=server)

    with pytest.raises(
        UpstreamFailed,
        match=r"HTTP 404 and no OAuth error, and the search for another one failed: (its|the) ",
    ):
        await make().bearer()
    assert sent_to() == {TOKEN}


@pytest.mark.parametrize("answer", [PAGE, httpx.ConnectError("x")])
async def test_other_issuer_gets_no_refresh_token(
    make: Make, store: FileStore, answer: httpx.Response | Exception
) -> None:
    store.save(stored(100.0))
    leads_to(answer)
    publish(resource_metadata(authorization_servers=[OTHER]), server_metadata(token_endpoint=MOVED))
    respx.get(f"{OTHER}/.well-known/oauth-authorization-server").respond(
        json=server_metadata(issuer=OTHER, token_endpoint=f"{OTHER}/token")
    )
    assert await make().bearer() == f"{ACCESS}-0"

    store.save(stored(-1.0))
    authorization = make()
    assert await authorization.bearer() is None
    with pytest.raises(SignInNeeded):
        await refuse(authorization, None, Challenge())
    assert sent_to() == {TOKEN}


@pytest.mark.parametrize("left", [86400.0, -1.0])
@pytest.mark.parametrize("named", [[ISSUER, OTHER], [OTHER, f"{ISSUER}/"]])
async def test_order_of_the_named_servers_means_nothing(
    make: Make, store: FileStore, named: list[str], left: float
) -> None:
    store.save(stored(left))
    leads_to(PAGE)
    publish(resource_metadata(authorization_servers=named), server_metadata(token_endpoint=MOVED))
    respx.get(f"{OTHER}/.well-known/oauth-authorization-server").respond(
        json=server_metadata(issuer=OTHER, token_endpoint=f"{OTHER}/token")
    )
    respx.post(MOVED).mock(return_value=grant(1))
    authorization = make()

    if left > 0:
        await refuse(authorization, await authorization.bearer(), Challenge())
    assert await authorization.bearer() == f"{ACCESS}-1"
    assert sent_to() == {TOKEN, MOVED}


@pytest.mark.parametrize("left", [86400.0, -1.0])
async def test_server_without_resource_metadata_names_no_other_issuer(
    make: Make, store: FileStore, left: float
) -> None:
    """The metadata may be missing for a moment. If the server has moved, it refuses the renewed token too."""
    store.save(stored(left))
    leads_to(PAGE)
    origin = "https://mcp.test"
    respx.get(f"{origin}/.well-known/oauth-authorization-server").respond(
        json=server_metadata(issuer=origin, token_endpoint=f"{origin}/token")
    )
    respx.get(SERVER_METADATA).respond(json=server_metadata(token_endpoint=MOVED))
    respx.post(MOVED).mock(return_value=grant(1))
    clock = ManualClock()
    authorization = make(clock=clock)

    if left > 0:
        await refuse(authorization, await authorization.bearer(), Challenge())
    renewed = await authorization.bearer()
    assert renewed == f"{ACCESS}-1"
    assert sent_to() == {TOKEN, MOVED}
    if left > 0:
        clock.advance(PATIENCE)
        with pytest.raises(SignInNeeded):
            await refuse(authorization, renewed, Challenge())


async def test_configured_issuer_is_asked_whatever_the_resource_names(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0))
    leads_to(PAGE)
    publish(resource_metadata(authorization_servers=[OTHER]), server_metadata(token_endpoint=MOVED))
    respx.post(MOVED).mock(return_value=grant(1))
    settings = msgspec.structs.replace(transport(), oauth=OAuthSettings(issuer=ISSUER))

    assert await make(None, settings).bearer() == f"{ACCESS}-1"


async def test_user_learns_the_way_out_if_no_metadata_name_a_token_endpoint(
    make: Make, store: FileStore
) -> None:
    store.save(stored(-1.0))
    leads_to(PAGE)
    authorization = make()

    for _ in range(2):
        with pytest.raises(
            UpstreamFailed, match=f"{TOKEN}.*HTTP 404.*{SERVER_METADATA} answered with HTTP 404"
        ) as raised:
            await authorization.bearer()
        assert raised.value.remedy.endswith("dynamic-mcp logout docs\nand then: dynamic-mcp login docs")
    # The user has done so in the meantime.
    store.save(stored(86400.0, 7))
    assert await authorization.bearer() == f"{ACCESS}-7"


async def test_gone_endpoint_that_the_metadata_still_name_costs_no_tokens(
    make: Make, store: FileStore
) -> None:
    store.save(stored(-1.0))
    leads_to(PAGE)
    publish()

    with pytest.raises(
        UpstreamFailed, match=r"the metadata of its authorization server name no other one$"
    ) as raised:
        await make().bearer()
    assert raised.value.remedy.endswith("dynamic-mcp login docs")


async def test_unreachable_endpoint_that_has_not_moved_is_reported_as_such(
    make: Make, store: FileStore
) -> None:
    store.save(stored(-1.0))
    leads_to(httpx.ConnectError("[Errno 111] x"))
    publish()

    with pytest.raises(UpstreamFailed, match=r"gave no answer: Connection refused$"):
        await make().bearer()


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("status", [403, 404, 407])
async def test_refusal_without_a_code_costs_no_tokens(
    make: Make, store: FileStore, published: bool, status: int
) -> None:
    """It may be the answer of a gateway in between."""
    store.save(stored(-1.0))
    gateway = httpx.Response(status, json={"message": "Forbidden"})
    respx.post(TOKEN).mock(side_effect=[gateway, gateway, grant(1)])
    if published:
        publish()
    authorization = make()

    for _ in range(2):
        with pytest.raises(SignInMayHelp, match=f"HTTP {status} and no OAuth error"):
            await authorization.bearer()
    assert await authorization.bearer() == f"{ACCESS}-1"


@pytest.mark.parametrize("answer", [httpx.Response(503), httpx.ReadTimeout("x"), httpx.ConnectTimeout("x")])
async def test_failure_of_the_endpoint_itself_starts_no_search(
    make: Make, store: FileStore, answer: httpx.Response | Exception
) -> None:
    store.save(stored(-1.0))
    leads_to(answer)

    with pytest.raises(UpstreamFailed):
        await make().bearer()
    assert {call.request.method for call in respx.calls} == {"POST"}


async def test_search_is_bounded(make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "SEARCH_TIME", 0.05)
    store.save(stored(-1.0))
    leads_to(PAGE)
    respx.get(SERVER_METADATA).mock(side_effect=SlowAnswer(PAGE))

    with pytest.raises(UpstreamFailed, match="did not come within"):
        await make().bearer()


def machine() -> RemoteTransport:
    oauth = OAuthSettings(client_secret=Secret(KEY), grant="client_credentials")
    return msgspec.structs.replace(transport(), oauth=oauth)


async def test_machine_asks_anew_where_the_challenge_leads(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0, machine=True, refresh_token=None))
    leads_to(PAGE)
    respx.get("https://mcp.test/meta").respond(json=resource_metadata(authorization_servers=[OTHER]))
    respx.get(f"{OTHER}/.well-known/oauth-authorization-server").respond(
        json=server_metadata(issuer=OTHER, token_endpoint=f"{OTHER}/token")
    )
    respx.post(f"{OTHER}/token").mock(return_value=grant(1))
    authorization = make(None, machine())

    assert await authorization.bearer() is None
    await refuse(authorization, None, Challenge("https://mcp.test/meta"))
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_machine_follows_a_moved_token_endpoint(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0, machine=True, refresh_token=None))
    leads_to(PAGE)
    publish(server=server_metadata(token_endpoint=MOVED))
    respx.post(MOVED).mock(return_value=grant(1))

    assert await make(None, machine()).bearer() == f"{ACCESS}-1"
