"""Registration with an authorization server, and the authentication of the client."""

from __future__ import annotations

import json

import httpx
import pytest
import respx

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.registration import auth_method, authenticate, register
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.token_endpoint import request_tokens
from dynamic_mcp.oauth.tokens import ClientRegistration
from tests.dynamic_mcp.oauth.kit import ISSUER, KEY, REGISTER, TOKEN, granted

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
    assert auth_method(server(offered)) == method


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
        ({}, None, False),
    ],
)
async def test_method_that_the_server_does_not_name_is_a_guess(
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
    respx.post(REGISTER).respond(status, json={"error": "invalid_redirect_uri", "error_description": KEY})

    with pytest.raises(
        UpstreamFailed, match=rf"refuses the registration .HTTP {status}.*oauth_client_id"
    ) as raised:
        await register(http, server(), REDIRECT, None)
    assert not isinstance(raised.value, TransientFailure)
    assert KEY not in str(raised.value)


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
