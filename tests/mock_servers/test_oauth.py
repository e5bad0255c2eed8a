"""The protected upstream: signed in to by the client of the official SDK, and strict with all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from mock_servers.oauth_script import CLIENT, Fault, OAuth
from mock_servers.remote.oauth.token_registry import challenge_of
from mock_servers.remote_actions import revoke_tokens
from mock_servers.script import Script, ScriptError, on_call

from .remote_driver import Remote, Response, event_of, json_of, remote

VERIFIER = "v" * 43
CALLBACK = "http://127.0.0.1:9/callback"
SERVER = "/.well-known/oauth-authorization-server"


@dataclass
class Memory:
    """What the SDK's client keeps, and its user, who approves at once."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None
    answer: dict[str, str] = field(default_factory=dict)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def visit(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            location = (await browser.get(url)).headers["Location"]
        self.answer = dict(parse_qsl(urlsplit(location).query))

    async def come_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**self.answer)


@asynccontextmanager
async def official_client(url: str, memory: Memory) -> AsyncIterator[Client]:
    metadata = OAuthClientMetadata(
        client_name="test", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
    )
    auth = OAuthClientProvider(url, metadata, memory, memory.visit, memory.come_back)
    with anyio.fail_after(30):
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
        ):
            yield client


@pytest.mark.parametrize(
    "oauth",
    [
        OAuth(registration=True),
        OAuth(registration=True, own_origin=True, issuer_path="/tenant"),
        OAuth(registration=True, own_origin=True, server_metadata=["/.well-known/openid-configuration"]),
        OAuth(registration=True, resource_metadata=["/custom/prm.json"]),
        OAuth(
            registration=True,
            resource_metadata=["/.well-known/oauth-protected-resource"],
            challenges=["Bearer"],
        ),
        OAuth(registration=True, resource_metadata=[]),
        OAuth(registration=True, resource_required=True),
        OAuth(
            registration=True,
            iss="$issuer",
            server_fields={"authorization_response_iss_parameter_supported": True},
        ),
    ],
    ids=["default", "tenant", "openid", "custom", "root", "legacy", "resource", "iss"],
)
async def test_the_official_client_signs_in(tmp_path: Path, oauth: OAuth) -> None:
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, Memory()) as client:
            called = await client.call_tool("echo", {"x": 1})
        assert called.structured_content == {"arguments": {"x": 1}}
        (registered,) = mock.events("register")
        (authorized,) = mock.events("authorize")
        (exchanged,) = mock.events("token")
        assert [entry.data["problem"] for entry in (registered, authorized, exchanged)] == [None] * 3
        assert dict(exchanged.data["params"])["code"] == authorized.data["issued"]["code"]


async def test_the_official_client_refreshes_an_expired_token(tmp_path: Path) -> None:
    oauth = OAuth(registration=True, lifetimes=[1, 3600])
    memory = Memory()
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, memory) as client:
            await anyio.sleep(1.1)
            assert not (await client.call_tool("echo", {})).is_error
        grants = [dict(entry.data["params"])["grant_type"] for entry in mock.events("token")]
        assert grants == ["authorization_code", "refresh_token"]
        assert memory.tokens and memory.tokens.refresh_token
        assert memory.tokens.refresh_token.startswith("refresh-2-")


async def test_the_official_client_steps_up(tmp_path: Path) -> None:
    challenges = ['Bearer scope="a", resource_metadata="$metadata"']
    oauth = OAuth(registration=True, tool_scopes={"echo": "b"}, challenges=challenges)
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, Memory()) as client:
            assert not (await client.call_tool("echo", {})).is_error
        scopes = [dict(entry.data["params"])["scope"] for entry in mock.events("authorize")]
        assert scopes[0] == "a"
        assert set(scopes[1].split()) == {"a", "b"}


# Strictness, over plain HTTP


def test_a_document_of_openid_connect_has_what_that_wants(tmp_path: Path) -> None:
    places = [SERVER, "/.well-known/openid-configuration"]
    with remote(tmp_path, "http", Script(oauth=OAuth(server_metadata=places))) as mock:
        plain, openid = [json_of(mock.request("GET", place)) for place in places]
    wanted = {"jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported"}
    assert openid.keys() - plain.keys() == wanted
    assert openid["jwks_uri"] == f"{openid['issuer']}/keys"


def authorize(mock: Remote, **changes: str | None) -> dict[str, str]:
    """The query of the redirect, or the JSON of a refusal that does not redirect."""
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    response = mock.request("GET", f"/authorize?{query}")
    if response.status != 302:
        assert response.status == 400
        return {"refused": json_of(response)["error"]}
    location = urlsplit(response.headers["Location"])
    assert location.geturl().startswith(f"{CALLBACK}?") or changes.get("redirect_uri")
    return dict(parse_qsl(location.query))


def ask_token(mock: Remote, **asked: str) -> Response:
    body = urlencode({"client_id": CLIENT, **asked}).encode()
    return mock.request("POST", "/token", body, Content_Type="application/x-www-form-urlencoded")


def exchange(mock: Remote, code: str, /, **changes: str) -> dict[str, Any]:
    asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    return json_of(ask_token(mock, **{**asked, "code_verifier": VERIFIER, **changes}))


def refresh(mock: Remote, token: str, **more: str) -> dict[str, Any]:
    return json_of(ask_token(mock, grant_type="refresh_token", refresh_token=token, **more))


def status_with(mock: Remote, token: str, tool: str = "echo") -> int:
    return mock.call(tool, Authorization=f"Bearer {token}").status


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"client_id": "stranger"}, {"refused": "invalid_client"}),
        ({"redirect_uri": "http://192.0.2.1/callback"}, {"refused": "invalid_request"}),
        ({"redirect_uri": "http://127.0.0.1.evil.example/"}, {"refused": "invalid_request"}),
        ({"code_challenge": None}, {"error": "invalid_request", "state": "s"}),
        ({"code_challenge": "A" * 44}, {"error": "invalid_request"}),
        ({"code_challenge_method": "plain"}, {"error": "invalid_request"}),
        ({"response_type": "token"}, {"error": "unsupported_response_type"}),
        ({"scope": ""}, {"error": "invalid_scope"}),
        ({"resource": "https://evil.example/"}, {"error": "invalid_target"}),
    ],
)
def test_a_wrong_authorization_request_is_refused(
    tmp_path: Path, changes: dict[str, str | None], seen: dict[str, str]
) -> None:
    with remote(tmp_path, "oauth") as mock:
        assert seen.items() <= authorize(mock, **changes).items()
        assert mock.events("authorize")[0].data["problem"] is not None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://localhost:9/callback"}, "invalid_grant"),
        ({"code": "a b/c=&d.1"}, "invalid_grant"),
        ({"client_id": "stranger"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"resource": "https://evil.example/"}, "invalid_target"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_wrong_exchange_is_refused(tmp_path: Path, changes: dict[str, str], error: str) -> None:
    with remote(tmp_path, "oauth") as mock:
        code = authorize(mock)["code"]
        assert exchange(mock, code, **changes)["error"] == error
        assert mock.events("token")[0].data["issued"] == {}


def test_an_exchange_is_a_form(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        response = mock.request("POST", "/token", b"{}", Content_Type="application/json")
        assert json_of(response)["error"] == "invalid_request"


def test_a_server_can_serve_the_resources_of_others(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(any_resource=True, any_token=True))) as mock:
        resource = "http://127.0.0.1:1/mcp"
        given = exchange(mock, authorize(mock, resource=resource)["code"], resource=resource)
        assert status_with(mock, given["access_token"]) == status_with(mock, "of-another-server")
        assert status_with(mock, "of-another-server") != 401
        assert mock.call().status == 401


def test_a_code_works_once_and_its_second_use_ends_what_it_brought(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        code = authorize(mock)["code"]
        given = exchange(mock, code)
        assert status_with(mock, given["access_token"]) == 200
        assert exchange(mock, code)["error"] == "invalid_grant"
        assert status_with(mock, given["access_token"]) == 401


def test_a_refresh_token_that_was_rotated_away_ends_the_family(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        first = exchange(mock, authorize(mock)["code"])
        second = refresh(mock, first["refresh_token"])
        assert refresh(mock, first["refresh_token"])["error"] == "invalid_grant"
        assert refresh(mock, second["refresh_token"])["error"] == "invalid_grant"
        assert status_with(mock, second["access_token"]) == 401


def test_without_rotation_the_refresh_token_stays_good(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth", None, "--no-rotation", "--expires-in", "360") as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert first["expires_in"] == 360
        for _ in range(2):
            assert "refresh_token" not in refresh(mock, first["refresh_token"])
        assert refresh(mock, first["refresh_token"], scope="more")["error"] == "invalid_scope"


def test_lifetimes_are_said_and_kept(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(lifetimes=[0, None]))) as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert first["expires_in"] == 0
        refused = mock.call(Authorization=f"Bearer {first['access_token']}")
        assert refused.status == 401
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
        second = refresh(mock, first["refresh_token"])
        assert "expires_in" not in second
        assert status_with(mock, second["access_token"]) == 200


def test_tokens_are_revoked_by_an_action(tmp_path: Path) -> None:
    script = Script(
        oauth=OAuth(),
        on=[on_call("add", revoke_tokens(), nth=1), on_call("add", revoke_tokens(all_later=True))],
    )
    with remote(tmp_path, "http", script) as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert status_with(mock, first["access_token"], "add") == 200
        assert status_with(mock, first["access_token"]) == 401
        second = refresh(mock, first["refresh_token"])
        assert status_with(mock, second["access_token"], "add") == 200
        third = refresh(mock, second["refresh_token"])
        assert status_with(mock, third["access_token"]) == 401


def test_both_channels_of_the_older_transport_want_the_token(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(oauth=OAuth())) as mock:
        assert mock.request("GET").status == 401
        token = exchange(mock, authorize(mock)["code"])["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        stream = mock.request("GET", **bearer)
        target = event_of(stream)["data"]
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert mock.request("POST", target, body).status == 401
        assert mock.request("POST", target, body, **bearer).status == 202


def test_faults_meet_the_requests_they_name(tmp_path: Path) -> None:
    faults = [
        Fault("token", grant="refresh_token", times=1, status=503, headers={"Retry-After": "1"}),
        Fault("token", grant="refresh_token", times=1, delay=0.3),
        Fault("server_metadata", times=1, status=500),
    ]
    with remote(tmp_path, "http", Script(oauth=OAuth(faults=faults))) as mock:
        assert [mock.request("GET", SERVER).status for _ in range(2)] == [500, 200]
        first = exchange(mock, authorize(mock)["code"])
        refused = ask_token(mock, grant_type="refresh_token", refresh_token=first["refresh_token"])
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert "access_token" in refresh(mock, first["refresh_token"])
        asked, answered = mock.events("token")[-1], mock.events("http-response")[-1]
        assert answered.t - asked.t >= 0.3


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_registered_client_uses_its_secret_and_its_redirect_uris(tmp_path: Path, method: Any) -> None:
    oauth = OAuth(registration=True, registered_auth=method)
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        client = json_of(mock.request("POST", "/register", {"redirect_uris": [CALLBACK]}))
        name, secret = client["client_id"], client["client_secret"]
        other = authorize(mock, client_id=name, redirect_uri="http://127.0.0.1:9/other")
        assert other == {"refused": "invalid_request"}
        port = CALLBACK.replace(":9/", ":10/")
        assert "code" in authorize(mock, client_id=name, redirect_uri=port)
        code = authorize(mock, client_id=name)["code"]
        assert exchange(mock, code, client_id=name)["error"] == "invalid_client"
        if method == "client_secret_post":
            assert "access_token" in exchange(mock, code, client_id=name, client_secret=secret)


def test_the_port_of_a_name_is_not_free(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth", None, "--registration") as mock:
        uris = {"redirect_uris": ["http://localhost:9/callback"]}
        client = json_of(mock.request("POST", "/register", uris))
        assert client["token_endpoint_auth_method"] == "none"
        asked = {"client_id": client["client_id"], "redirect_uri": "http://localhost:10/callback"}
        assert authorize(mock, **asked) == {"refused": "invalid_request"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lifetime": 3}, "oauth: unknown field lifetime"),
        ({"faults": [{"at": "token", "code": 503}]}, r"oauth.faults\[0\]: unknown field code"),
        ({"faults": [{"at": "elsewhere"}]}, r"oauth.faults\[0\].at: 'elsewhere'"),
        ({"registered_auth": "magic"}, "oauth.registered_auth: 'magic'"),
    ],
)
def test_a_mistake_in_the_script_is_named(wrong: Any, named: str) -> None:
    with pytest.raises(ScriptError, match=named):
        Script.from_dict({"oauth": wrong})
