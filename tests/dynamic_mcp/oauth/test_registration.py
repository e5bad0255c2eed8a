"""Registration with an authorization server, and the authentication of the client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
import respx

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.registration import auth_methods, authenticate, register
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.token_endpoint import request_tokens
from dynamic_mcp.oauth.tokens import ClientRegistration
from dynamic_mcp.secret import Secret
from tests.dynamic_mcp.oauth.kit import ISSUER, KEY, REGISTER, TOKEN, URL, Make, User, granted, publish

REDIRECT = "http://127.0.0.1:4711/oauth/callback"


def server(methods: list[str] | None = None, registration_endpoint: str | None = REGISTER) -> ServerMetadata:
    return ServerMetadata(
        ISSUER,
        f"{ISSUER}/authorize",
        TOKEN,
        registration_endpoint,
        token_endpoint_auth_methods_supported=methods,
    )


async def test_registers_a_native_public_client(http: httpx.AsyncClient) -> None:
    route = respx.post(REGISTER).respond(201, json={"client_id": "made"})

    client = await register(http, server(), REDIRECT, "a b")

    assert client == ClientRegistration("made", None, "none", REDIRECT, registered=True, scope="a b")
    assert json.loads(route.calls.last.request.content) == {
        "client_name": "dynamic-mcp",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
        "scope": "a b",
    }


async def test_missing_scope_is_left_out(http: httpx.AsyncClient) -> None:
    route = respx.post(REGISTER).respond(201, json={"client_id": "made"})

    await register(http, server(), REDIRECT, None)

    assert "scope" not in json.loads(route.calls.last.request.content)


@pytest.mark.parametrize(
    ("offered", "method"),
    [
        (None, "none"),
        ([], "none"),
        (["private_key_jwt"], "none"),
        (["client_secret_post", "client_secret_basic", "none"], "none"),
        (["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (["private_key_jwt", "client_secret_post"], "client_secret_post"),
    ],
)
def test_requested_authentication_method(offered: list[str] | None, method: str) -> None:
    assert auth_methods(server(offered))[0] == method


@pytest.mark.parametrize(
    ("answer", "secret", "method"),
    [
        ({}, None, "client_secret_post"),
        ({"token_endpoint_auth_method": "none"}, None, "none"),
        ({"client_secret": KEY}, KEY, "client_secret_post"),
        (
            {"client_secret": KEY, "token_endpoint_auth_method": "client_secret_basic"},
            KEY,
            "client_secret_basic",
        ),
        # A secret without a method: the default of RFC 7591, section 2.
        ({"client_secret": KEY, "token_endpoint_auth_method": "none"}, KEY, "client_secret_basic"),
    ],
)
async def test_server_decides_the_authentication_method(
    http: httpx.AsyncClient, answer: dict[str, str], secret: str | None, method: str
) -> None:
    respx.post(REGISTER).respond(200, json={"client_id": "made", **answer})

    client = await register(http, server(["client_secret_post"]), REDIRECT, None)

    assert (client.client_secret, client.method) == (secret, method)


@pytest.mark.parametrize(
    ("answer", "offered", "is_guess"),
    [
        ({"client_secret": KEY}, None, True),
        ({"client_secret": KEY}, ["client_secret_basic", "client_secret_post"], True),
        ({"client_secret": KEY}, ["client_secret_basic", "private_key_jwt"], False),
        ({"client_secret": KEY, "token_endpoint_auth_method": None}, ["none"], True),
        ({"client_secret": KEY, "token_endpoint_auth_method": "none"}, ["none"], True),
        ({"client_secret": KEY, "token_endpoint_auth_method": "client_secret_basic"}, None, False),
        (
            {"client_secret": KEY, "token_endpoint_auth_method": "client_secret_basic"},
            ["client_secret_basic", "client_secret_post"],
            True,
        ),
        ({}, None, False),
    ],
)
async def test_secret_may_belong_into_the_form(
    http: httpx.AsyncClient, answer: dict[str, object], offered: list[str] | None, is_guess: bool
) -> None:
    """The token endpoint may want ``client_secret_post``."""
    respx.post(REGISTER).respond(201, json={"client_id": "made", **answer})

    found = await register(http, server(offered), REDIRECT, None)

    assert (found.method, found.is_guess) == ("client_secret_basic" if answer else "none", is_guess)


async def test_secret_of_a_registration_may_belong_into_the_form(http: httpx.AsyncClient) -> None:
    respx.post(REGISTER).respond(201, json={"client_id": "made", "client_secret": KEY})
    respx.post(TOKEN).mock(
        side_effect=lambda request: (
            httpx.Response(200, json=granted())
            if b"client_secret=" in request.content
            else httpx.Response(401, json={"error": "invalid_client"})
        )
    )

    client = await register(http, server(), REDIRECT, None)
    form = {"grant_type": "authorization_code", "code": "c"}
    tokens = await request_tokens(http, TOKEN, client, form)

    assert tokens.client is not None
    assert tokens.client.method == "client_secret_post"


@pytest.mark.parametrize(
    ("answer", "expires_at"),
    [
        ({"client_secret": KEY, "client_secret_expires_at": 2000000000}, 2e9),
        ({"client_secret": KEY, "client_secret_expires_at": 0}, None),
        ({"client_secret": KEY}, None),
        ({"client_secret_expires_at": 2000000000}, None),
        # An invalid time must not lose the registration.
        ({"client_secret": KEY, "client_secret_expires_at": None}, None),
        ({"client_secret": KEY, "client_secret_expires_at": "soon"}, None),
        ({"client_secret": KEY, "client_secret_expires_at": True}, None),
        ({"client_secret": KEY, "client_secret_expires_at": -1}, None),
    ],
)
async def test_expiry_of_the_client_secret(
    http: httpx.AsyncClient, answer: dict[str, object], expires_at: float | None
) -> None:
    respx.post(REGISTER).respond(201, json={"client_id": "made", **answer})

    client = await register(http, server(), REDIRECT, None)

    assert (client.client_id, client.secret_expires_at) == ("made", expires_at)


async def test_server_without_registration_needs_a_configured_client(
    http: httpx.AsyncClient,
) -> None:
    with pytest.raises(UpstreamFailed, match="configure oauth_client_id"):
        await register(http, server(registration_endpoint=None), REDIRECT, None)
    assert not respx.calls


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
async def test_refused_registration(http: httpx.AsyncClient, status: int) -> None:
    route = respx.post(REGISTER).respond(
        status, json={"error": "invalid_redirect_uri", "error_description": f"\x1b[2Jfirst\nsecond {KEY}"}
    )

    with pytest.raises(UpstreamFailed) as raised:
        await register(http, server(), REDIRECT, "a", HiddenValues([KEY]))
    assert not isinstance(raised.value, TransientFailure)
    assert str(raised.value) == (
        f"its registration endpoint ({REGISTER}) refuses the registration "
        f"(HTTP {status}, invalid_redirect_uri: [2Jfirstsecond [hidden]): configure oauth_client_id; "
        'if it accepts only localhost, write "redirect_uri": "http://localhost/oauth/callback" in its oauth table'
    )
    # No other form would help.
    assert len(route.calls) == 1


@pytest.mark.parametrize("redirect", [REDIRECT, "http://localhost:4711/oauth/callback"])
async def test_hint_at_localhost_is_for_an_address_of_the_proxy(
    http: httpx.AsyncClient, redirect: str
) -> None:
    respx.post(REGISTER).respond(400, json={"error": "x", "error_description": "Redirect URI not allowed"})

    with pytest.raises(UpstreamFailed) as raised:
        await register(http, server(), redirect, None)
    assert ("only localhost" in str(raised.value)) == (redirect == REDIRECT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>no</html>",
        b"[]",
        b'{"error":7,"error_description":["no"]}',
        b'{"error":null}',
        b'{"error":' + b"[" * 100_000,
    ],
)
async def test_refused_registration_without_words(http: httpx.AsyncClient, body: bytes) -> None:
    respx.post(REGISTER).respond(403, content=body)

    with pytest.raises(
        UpstreamFailed, match=r"refuses the registration .HTTP 403.: configure oauth_client_id$"
    ):
        await register(http, server(), REDIRECT, None)


@pytest.mark.parametrize("place", ["registration", "page"])
async def test_refusal_hides_the_values_of_the_configuration(routes: None, make: Make, place: str) -> None:
    publish()
    if place == "registration":
        respx.post(REGISTER).respond(400, json={"error": "x", "error_description": f"the key {KEY}"})
    else:
        respx.post(REGISTER).respond(201, json={"client_id": "made"})
    settings = RemoteTransport(Secret(URL), (("X-Key", Secret(KEY)),))
    authorization = make(User(f"error=x&error_description=the+key+{KEY}"), settings)

    with pytest.raises(UpstreamFailed, match=r"x: the key \[hidden\]"):
        await authorization.sign_in(SignInNeeded("it asks for an authorization", challenge=Challenge()))


async def test_long_words_of_a_refusal_are_cut(http: httpx.AsyncClient) -> None:
    respx.post(REGISTER).respond(400, json={"error": "e" * 1000, "error_description": "d" * 100_000})

    with pytest.raises(UpstreamFailed) as raised:
        await register(http, server(), REDIRECT, None)
    assert len(str(raised.value)) < 500


#: What servers of the field refuse, and what they accept.
REFUSED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "scope": lambda sent: "scope" in sent,
    "grant": lambda sent: "refresh_token" in sent["grant_types"],
    "method": lambda sent: sent["token_endpoint_auth_method"] == "none",
    "scope and method": lambda sent: "scope" in sent or sent["token_endpoint_auth_method"] == "none",
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("status", [400, 403, 422])
async def test_refused_registration_is_tried_again_without_what_may_be_refused(
    http: httpx.AsyncClient, refused: str, status: int
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)
        if REFUSED[refused](sent):
            return httpx.Response(status, json={"error": "invalid_client_metadata"})
        # As RFC 7591 demands, the answer has the registered metadata.
        given = {} if sent["token_endpoint_auth_method"] == "none" else {"client_secret": KEY}
        return httpx.Response(201, json={**sent, "client_id": "made", **given})

    route = respx.post(REGISTER).mock(side_effect=answer)
    found = await register(
        http, msgspec.structs.replace(server(), grant_types_supported=["authorization_code"]), REDIRECT, "a b"
    )

    first, *_, last = (json.loads(call.request.content) for call in route.calls)
    assert first["grant_types"] == ["authorization_code", "refresh_token"]
    assert ("scope" in last) == ("scope" not in refused)
    assert last["grant_types"] == (
        ["authorization_code"] if refused in ("grant", "scope and method") else first["grant_types"]
    )
    assert found.method == last["token_endpoint_auth_method"]
    assert found.method == ("client_secret_basic" if "method" in refused else "none")
    assert set((found.scope or "").split()) == {"a", "b"}


@pytest.mark.parametrize(
    ("methods", "grants", "scope", "requests"),
    [
        (None, None, None, 2),
        (["none"], None, None, 1),
        (["none"], ["authorization_code", "refresh_token"], None, 1),
        (["none"], ["authorization_code"], None, 2),
        (["none"], None, "a", 2),
        (["client_secret_post", "none"], ["authorization_code"], "a", 5),
    ],
)
async def test_registration_that_is_always_refused_ends_with_the_first_refusal(
    http: httpx.AsyncClient,
    methods: list[str] | None,
    grants: list[str] | None,
    scope: str | None,
    requests: int,
) -> None:
    route = respx.post(REGISTER).mock(
        side_effect=[httpx.Response(400, json={"error": f"refusal-{number}"}) for number in range(requests)]
    )

    with pytest.raises(UpstreamFailed, match=r"HTTP 400, refusal-0\)"):
        await register(
            http, msgspec.structs.replace(server(methods), grant_types_supported=grants), REDIRECT, scope
        )
    sent = [call.request.content for call in route.calls]
    assert len(sent) == len(set(sent)) == requests


async def test_other_refusals_of_a_registration_are_final(http: httpx.AsyncClient) -> None:
    route = respx.post(REGISTER).respond(401, json={"error": "invalid_token"})

    with pytest.raises(UpstreamFailed, match="HTTP 401, invalid_token"):
        await register(http, server(), REDIRECT, "a")
    assert len(route.calls) == 1


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
async def test_empty_client_secret_is_none(http: httpx.AsyncClient, method: str) -> None:
    answer = {"client_id": "made", "client_secret": "", "token_endpoint_auth_method": method}
    respx.post(REGISTER).respond(201, json=answer)

    found = await register(http, server(["none", "client_secret_basic"]), REDIRECT, None)

    assert (found.client_secret, found.method) == (None, method)
    assert authenticate(found, {}) == ({"client_id": "made"}, None)


@pytest.mark.parametrize("status", [429, 500, 502])
async def test_failed_registration_is_transient(http: httpx.AsyncClient, status: int) -> None:
    respx.post(REGISTER).respond(status)

    with pytest.raises(
        TransientFailure, match=f"its registration endpoint .{REGISTER}. answered with HTTP {status}"
    ):
        await register(http, server(), REDIRECT, None)


async def test_registration_times_out(http: httpx.AsyncClient) -> None:
    respx.post(REGISTER).mock(side_effect=httpx.ReadTimeout(KEY))

    with pytest.raises(TransientFailure, match=r"gave no answer: it did not answer in time$"):
        await register(http, server(), REDIRECT, None)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"client_id":null}', b'{"client_id":' + b"[" * 100_000]
)
async def test_invalid_answer_to_a_registration(http: httpx.AsyncClient, body: bytes) -> None:
    respx.post(REGISTER).respond(201, content=body)

    with pytest.raises(UpstreamFailed, match=r"answer of its registration endpoint .*cannot be read"):
        await register(http, server(), REDIRECT, None)


@pytest.mark.parametrize(
    ("client", "form", "basic"),
    [
        (ClientRegistration("app"), {"x": "1", "client_id": "app"}, None),
        (ClientRegistration("app", None, "client_secret_basic"), {"x": "1", "client_id": "app"}, None),
        (ClientRegistration("app", "s", "none"), {"x": "1", "client_id": "app"}, None),
        (
            ClientRegistration("app", "s", "client_secret_post"),
            {"x": "1", "client_id": "app", "client_secret": "s"},
            None,
        ),
        (ClientRegistration("app", "s", "client_secret_basic"), {"x": "1", "client_id": "app"}, ("app", "s")),
        (
            ClientRegistration("a:b", "c d/é", "client_secret_basic"),
            {"x": "1", "client_id": "a:b"},
            ("a%3Ab", "c%20d%2F%C3%A9"),
        ),
    ],
)
def test_client_authentication(
    client: ClientRegistration, form: dict[str, str], basic: tuple[str, str] | None
) -> None:
    given = {"x": "1"}

    assert authenticate(client, given) == (form, basic)
    assert given == {"x": "1"}
