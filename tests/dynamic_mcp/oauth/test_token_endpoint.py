"""The token endpoint: its answers and its failures."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import respx

from dynamic_mcp.oauth import request
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.token_endpoint import GrantRefused, request_tokens
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from tests.dynamic_mcp.oauth.kit import ACCESS, CODE, KEY, REFRESH, TOKEN, form_of, granted

FORM = {"grant_type": "authorization_code", "code": "a+b/c=&d ~é"}


async def ask_for_tokens(http: httpx.AsyncClient, client: ClientRegistration | None = None) -> Tokens:
    return await request_tokens(http, TOKEN, client or ClientRegistration("app"), FORM)


async def test_code_is_sent_once_in_a_form(http: httpx.AsyncClient) -> None:
    route = respx.post(TOKEN).respond(json=granted(scope="a b"))

    tokens = await ask_for_tokens(http)

    assert (tokens.access_token, tokens.refresh_token) == (f"{ACCESS}-1", f"{REFRESH}-1")
    assert (tokens.lifetime, tokens.scope) == (3600.0, "a b")
    assert tokens.seconds_left(time.time()) == pytest.approx(3600, abs=5)
    (call,) = route.calls
    assert form_of(call.request) == {**FORM, "client_id": "app"}
    assert call.request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in call.request.headers


async def test_secret_in_the_header_is_percent_encoded(http: httpx.AsyncClient) -> None:
    route = respx.post(TOKEN).respond(json=granted())

    await ask_for_tokens(http, ClientRegistration("id:1 é", "s:e/c+r=t%", "client_secret_basic"))

    request = route.calls.last.request
    scheme, _, word = request.headers["Authorization"].partition(" ")
    name, _, secret = base64.b64decode(word).decode("ascii").partition(":")
    assert (scheme, unquote(name), unquote(secret)) == ("Basic", "id:1 é", "s:e/c+r=t%")
    assert form_of(request) == {**FORM, "client_id": "id:1 é"}


async def test_secret_in_the_form_is_not_in_the_header(http: httpx.AsyncClient) -> None:
    route = respx.post(TOKEN).respond(json=granted())

    await ask_for_tokens(http, ClientRegistration("id", "s&e=c", "client_secret_post"))

    request = route.calls.last.request
    assert form_of(request) == {**FORM, "client_id": "id", "client_secret": "s&e=c"}
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (b"60", 60.0),
        (b"60.5", 60.5),
        (b'"60"', 60.0),
        (b"0", None),
        (b'""', None),
        (b'"soon"', None),
        (b"true", None),
        (b"null", None),
        (b"-1", None),
        (b'"-1"', None),
        (b"1e300", None),
        (b"123456789012345678901234567890", None),
        (b'"nan"', None),
        (b'"inf"', None),
        (b'"1e999"', None),
    ],
)
async def test_invalid_lifetime_counts_as_unknown(
    http: httpx.AsyncClient, expires_in: bytes, lifetime: float | None
) -> None:
    respx.post(TOKEN).respond(content=b'{"access_token":"a","expires_in":%b}' % expires_in)

    tokens = await ask_for_tokens(http)

    assert tokens.lifetime == lifetime
    assert (tokens.expires_at is None) == (lifetime is None)


async def test_lifetime_may_be_missing(http: httpx.AsyncClient) -> None:
    respx.post(TOKEN).respond(content=b'{"access_token":"a"}')

    assert await ask_for_tokens(http) == Tokens("a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>canary-key</html>",
        b"[]",
        b"{}",
        b'{"access_token":null}',
        b'{"access_token":"a","expires_in":NaN}',
        b'{"access_token":"a","expires_in":1e999}',
        b'{"access_token":"a\xff"}',
        b'{"access_token":"a","x":' + b"[" * 100_000,
    ],
)
async def test_unreadable_answer_is_transient(http: httpx.AsyncClient, body: bytes) -> None:
    respx.post(TOKEN).respond(content=body)

    with pytest.raises(
        TransientFailure, match=r"^the answer of its token endpoint .https://as.test/token. cannot be read$"
    ):
        await ask_for_tokens(http)


@pytest.mark.parametrize("changes", [{"access_token": ""}, {"token_type": "DPoP"}, {"token_type": "mac"}])
async def test_other_token_types_are_refused(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    respx.post(TOKEN).respond(json=granted(**changes))

    with pytest.raises(GrantRefused, match="gave no bearer token"):
        await ask_for_tokens(http)


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "Bearer"])
async def test_case_of_the_token_type_does_not_matter(http: httpx.AsyncClient, kind: str) -> None:
    respx.post(TOKEN).respond(json=granted(token_type=kind))

    assert (await ask_for_tokens(http)).access_token == f"{ACCESS}-1"


@pytest.mark.parametrize(
    ("status", "body", "code", "shown"),
    [
        (
            400,
            b'{"error":"invalid_grant","error_description":"canary-key"}',
            "invalid_grant",
            "invalid_grant",
        ),
        (400, b'{"error":"canary-code is <unknown>"}', "", "HTTP 400"),
        (400, b'{"error":"%b"}' % (b"x" * 41), "", "HTTP 400"),
        (400, b'{"error":7}', "", "HTTP 400"),
        (403, b"canary-code", "", "HTTP 403"),
        (404, b"", "", "HTTP 404"),
        (400, b'{"error":' + b"[" * 100_000, "", "HTTP 400"),
    ],
)
async def test_refusal_shows_only_its_code(
    http: httpx.AsyncClient, status: int, body: bytes, code: str, shown: str
) -> None:
    respx.post(TOKEN).respond(status, content=body, headers={"Location": "https://evil.test/"})

    with pytest.raises(
        GrantRefused, match=rf"^its token endpoint .{TOKEN}. refuses the request .{shown}.$"
    ) as raised:
        await ask_for_tokens(http)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("client", "advice"),
    [
        (ClientRegistration("app"), "if this client has a secret, write it into the configuration"),
        (ClientRegistration("app", KEY, "client_secret_post"), "check the client_id and its secret"),
        (ClientRegistration("made", KEY, "client_secret_post", registered=True), None),
    ],
)
async def test_refused_client_comes_with_advice(
    http: httpx.AsyncClient, client: ClientRegistration, advice: str | None
) -> None:
    respx.post(TOKEN).respond(401, json={"error": "invalid_client"})

    with pytest.raises(GrantRefused, match=advice or r"refuses the request .invalid_client.$") as raised:
        await ask_for_tokens(http, client)
    assert raised.value.code == "invalid_client"
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("silent", [True, False])
async def test_silent_server_may_want_the_secret_in_the_form(http: httpx.AsyncClient, silent: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        is_right = b"client_secret=" in request.content
        return httpx.Response(200, json=granted()) if is_right else httpx.Response(401)

    route = respx.post(TOKEN).mock(side_effect=answer)
    client = ClientRegistration("app", KEY, "client_secret_basic", is_guess=silent)

    if silent:
        found = (await ask_for_tokens(http, client)).client
        assert found is not None
        assert found.method == "client_secret_post"
    else:
        with pytest.raises(GrantRefused):
            await ask_for_tokens(http, client)
    assert len(route.calls) == (3 if silent else 2)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_server_error_is_transient(http: httpx.AsyncClient, status: int) -> None:
    respx.post(TOKEN).respond(status, json={"error": "invalid_grant"})

    with pytest.raises(TransientFailure, match=f"HTTP {status}"):
        await ask_for_tokens(http)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectTimeout(KEY), "it did not answer in time"),
        (httpx.ReadTimeout(KEY), "it did not answer in time"),
        (httpx.ConnectError(KEY), "no connection came about"),
        (
            httpx.RemoteProtocolError(CODE),
            "its answer is not valid HTTP, or the connection was lost before it",
        ),
        (httpx.ReadError(KEY), "the connection was lost before the answer was complete"),
        (httpx.InvalidURL(KEY), "its address is not valid"),
    ],
)
async def test_connection_failure_hides_the_text_of_the_library(
    http: httpx.AsyncClient, error: Exception, reason: str
) -> None:
    respx.post(TOKEN).mock(side_effect=error)

    with pytest.raises(TransientFailure, match=f"gave no answer: {reason}$"):
        await ask_for_tokens(http)


async def test_slow_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the timeout of a read, but the answer never ends."""
    monkeypatch.setattr(request, "REQUEST_TIME", 0.2)
    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not over.is_set():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with asyncio.timeout(10), await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(TransientFailure, match=r"gave no answer: it did not answer in time$"):
                await request_tokens(http, url, ClientRegistration("app"), FORM)
        over.set()


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"access_token":"a","scope":"x y"}',
        b'{"access_token":"a","scope":["x","y"],"refresh_token":5,"token_type":null}',
        b"access_token=a&scope=x+y&token_type=bearer\n",
        b"scope=x%20y&access_token=a",
    ],
)
@pytest.mark.parametrize("status", [200, 201])
async def test_answers_that_are_not_by_the_book(http: httpx.AsyncClient, body: bytes, status: int) -> None:
    respx.post(TOKEN).respond(status, content=body)

    assert await ask_for_tokens(http) == Tokens("a", scope="x y")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b'{"error":"bad_refresh_token","error_description":"canary-key"}', "bad_refresh_token"),
        (200, b"error=bad_refresh_token&error_description=canary-key", "bad_refresh_token"),
        (200, b'{"error":{"message":"canary-key"}}', ""),
        (403, b"<html>canary-key</html>", ""),
        (422, b'[{"message":"canary-key"}]', ""),
    ],
)
async def test_refusal_in_any_wording(http: httpx.AsyncClient, status: int, body: bytes, code: str) -> None:
    respx.post(TOKEN).respond(status, content=body)

    with pytest.raises(GrantRefused) as raised:
        await ask_for_tokens(http)
    assert raised.value.code == code
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body"), [(400, b'{"error":"temporarily_unavailable"}'), (302, b""), (200, b'{"ok":true}')]
)
async def test_failure_that_may_pass(http: httpx.AsyncClient, status: int, body: bytes) -> None:
    respx.post(TOKEN).respond(status, content=body)

    with pytest.raises(TransientFailure):
        await ask_for_tokens(http)


PAGE = b"<html>canary-key</html>"


@pytest.mark.parametrize(
    "form",
    [{"grant_type": "refresh_token", "refresh_token": REFRESH}, {"grant_type": "client_credentials"}],
)
@pytest.mark.parametrize(
    ("status", "body", "is_refused"),
    [
        (403, PAGE, False),
        (404, b"", False),
        (405, PAGE, False),
        (413, b"too large", False),
        (400, b"", True),
        (401, PAGE, True),
        (403, b'{"message":"Forbidden"}', False),
        (451, b'{"error":null}', False),
        (403, b'{"error":"access_denied"}', True),
        (404, b'{"error":"invalid_grant"}', True),
        (403, b"error=invalid_grant", True),
    ],
)
async def test_pages_between_are_no_verdict_on_tokens(
    http: httpx.AsyncClient, form: dict[str, str], status: int, body: bytes, is_refused: bool
) -> None:
    respx.post(TOKEN).respond(status, content=body)

    with pytest.raises(GrantRefused if is_refused else TransientFailure) as raised:
        await request_tokens(http, TOKEN, ClientRegistration("app"), form)
    assert KEY not in str(raised.value)
    if not is_refused:
        assert str(raised.value).endswith(f"answered with HTTP {status} and no OAuth error")


@pytest.mark.parametrize(
    ("wanted", "requests"), [("client_secret_post", 3), ("raw", 4), ("raw with a colon", 3), ("nothing", 4)]
)
async def test_refused_secret_is_tried_in_the_other_forms(
    http: httpx.AsyncClient, wanted: str, requests: int
) -> None:
    """Some servers do not decode HTTP Basic, and others offer it without taking it."""
    secret, client_id = "ab+c/d==", "a:b" if "colon" in wanted else "app"
    raw = httpx.BasicAuth(client_id, secret)._auth_header

    def answer(request: httpx.Request) -> httpx.Response:
        is_right = (
            form_of(request).get("client_secret") == secret
            if wanted == "client_secret_post"
            else wanted == "raw" and request.headers.get("Authorization") == raw
        )
        return (
            httpx.Response(200, json=granted())
            if is_right
            else httpx.Response(401, json={"error": "invalid_client"})
        )

    route = respx.post(TOKEN).mock(side_effect=answer)
    client = ClientRegistration(client_id, secret, "client_secret_basic", is_guess=True)
    if wanted in ("client_secret_post", "raw"):
        found = (await ask_for_tokens(http, client)).client
        assert found is not None
        assert (found.method, found.is_raw) == (
            ("client_secret_post", False) if wanted == "client_secret_post" else ("client_secret_basic", True)
        )
        assert (await ask_for_tokens(http, found)).client is None
        requests += 1
    else:
        with pytest.raises(GrantRefused, match="invalid_client"):
            await ask_for_tokens(http, client)
    assert len(route.calls) == requests


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b'{"message":"no"}'),
        (403, PAGE),
        (200, b'{"error":{"message":"no"}}'),
        (200, b'{"access_token":"a","token_type":"DPoP"}'),
        (400, b'{"error":"invalid_target"}'),
        (400, b'{"error":"invalid_grant"}'),
    ],
)
async def test_code_that_may_be_used_up_is_not_sent_again(
    http: httpx.AsyncClient, status: int, body: bytes
) -> None:
    route = respx.post(TOKEN).respond(status, content=body)
    form = {**FORM, "resource": "https://mcp.test/mcp"}

    with pytest.raises(GrantRefused):
        await request_tokens(
            http, TOKEN, ClientRegistration("a", "ab+c", "client_secret_basic", is_guess=True), form
        )
    assert len(route.calls) == 1


async def test_another_form_that_leads_to_a_verdict_on_the_grant_is_the_last_one(
    http: httpx.AsyncClient,
) -> None:
    """The server has understood this form, and may have used up the code."""
    codes = ["invalid_client", "invalid_grant"]
    route = respx.post(TOKEN).mock(side_effect=[httpx.Response(400, json={"error": code}) for code in codes])

    with pytest.raises(GrantRefused, match="invalid_grant"):
        await ask_for_tokens(http, ClientRegistration("a", "ab+c", "client_secret_basic", is_guess=True))
    assert len(route.calls) == 2


RENEWAL = {"grant_type": "refresh_token", "refresh_token": REFRESH, "resource": "https://mcp.test/mcp"}


@pytest.mark.parametrize("code", ["invalid_target", "invalid_request", "invalid_resource"])
async def test_renewal_is_repeated_without_a_refused_resource(http: httpx.AsyncClient, code: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        refused = "resource" in form_of(request)
        return httpx.Response(400, json={"error": code}) if refused else httpx.Response(200, json=granted())

    route = respx.post(TOKEN).mock(side_effect=answer)
    tokens = await request_tokens(http, TOKEN, ClientRegistration("app"), RENEWAL)

    assert tokens.client is None
    assert [form_of(call.request) for call in route.calls] == [
        {**RENEWAL, "client_id": "app"},
        {"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "app"},
    ]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": "client_credentials", "resource": "https://mcp.test/mcp"}, "invalid_target"),
        ({"grant_type": "refresh_token", "refresh_token": REFRESH}, "invalid_target"),
        (RENEWAL, "invalid_grant"),
        (RENEWAL, "token_inactive"),
        (RENEWAL, "invalid_client"),
    ],
)
async def test_other_refusals_do_not_drop_the_resource(
    http: httpx.AsyncClient, form: dict[str, str], code: str
) -> None:
    route = respx.post(TOKEN).respond(400, json={"error": code})

    with pytest.raises(GrantRefused, match=code):
        await request_tokens(http, TOKEN, ClientRegistration("app"), form)
    assert len(route.calls) == 1


@pytest.mark.parametrize(
    ("number", "advice"),
    [("AADSTS9010010", '; write "resource": false in its oauth table'), ("AADSTS7000218", "")],
)
async def test_refusal_of_entra_has_its_number(http: httpx.AsyncClient, number: str, advice: str) -> None:
    answer = {"error": "invalid_target", "error_description": f"{number}: the words have {CODE}"}
    respx.post(TOKEN).respond(400, json=answer)

    with pytest.raises(GrantRefused) as raised:
        await ask_for_tokens(http)
    assert str(raised.value) == (
        f"its token endpoint ({TOKEN}) refuses the request (invalid_target, {number}){advice}"
    )


BASIC = ClientRegistration("id", "s", "client_secret_basic")


@pytest.mark.parametrize("code", ["invalid_request", "invalid_client"])
async def test_client_id_leaves_the_form_if_the_endpoint_wants_that(
    http: httpx.AsyncClient, code: str
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        refused = "client_id" in form_of(request)
        return httpx.Response(400, json={"error": code}) if refused else httpx.Response(200, json=granted())

    route = respx.post(TOKEN).mock(side_effect=answer)
    tokens = await ask_for_tokens(http, BASIC)

    assert tokens.client is not None
    assert len(route.calls) == 2
    assert (await ask_for_tokens(http, tokens.client)).client is None
    assert len(route.calls) == 3


@pytest.mark.parametrize(("code", "requests"), [("invalid_grant", 1), ("invalid_client", 2)])
async def test_refused_client_is_reported_once(http: httpx.AsyncClient, code: str, requests: int) -> None:
    route = respx.post(TOKEN).respond(400, json={"error": code})

    with pytest.raises(GrantRefused, match=code):
        await ask_for_tokens(http, BASIC)
    assert len(route.calls) == requests
