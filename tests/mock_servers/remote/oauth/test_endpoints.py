"""The endpoints of the authorization server refuse every invalid request."""

from pathlib import Path

import pytest

from mock_servers.oauth_script import Fault, OAuth
from mock_servers.script import Script

from ..driver import json_of, remote
from .driver import SERVER, ask_token, authorize, exchange, refresh


def test_openid_configuration_has_its_required_members(tmp_path: Path) -> None:
    places = [SERVER, "/.well-known/openid-configuration"]
    with remote(tmp_path, "http", Script(oauth=OAuth(server_metadata=places))) as mock:
        plain, openid = [json_of(mock.request("GET", place)) for place in places]
    wanted = {"jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported"}
    assert openid.keys() - plain.keys() == wanted
    assert openid["jwks_uri"] == f"{openid['issuer']}/keys"


def test_openid_configuration_can_differ_from_the_other_metadata(tmp_path: Path) -> None:
    places = [SERVER, "/.well-known/openid-configuration"]
    oauth = OAuth(
        server_metadata=places,
        server_fields={"issuer": "https://honest.example", "token_endpoint": "$issuer/other"},
        openid_fields={"issuer": "$issuer", "grant_types_supported": None},
    )
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        plain, openid = [json_of(mock.request("GET", place)) for place in places]
    assert plain["issuer"] == "https://honest.example"
    assert openid["token_endpoint"] == plain["token_endpoint"] == f"{openid['issuer']}/other"
    assert plain.keys() - openid.keys() == {"grant_types_supported"}


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
def test_wrong_authorization_request_is_refused(
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
def test_wrong_token_request_is_refused(tmp_path: Path, changes: dict[str, str], error: str) -> None:
    with remote(tmp_path, "oauth") as mock:
        code = authorize(mock)["code"]
        assert exchange(mock, code, **changes)["error"] == error
        assert mock.events("token")[0].data["issued"] == {}


def test_token_request_must_be_a_form(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        response = mock.request("POST", "/token", b"{}", Content_Type="application/json")
        assert json_of(response)["error"] == "invalid_request"


def test_faults_affect_their_requests(tmp_path: Path) -> None:
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
        requested, answered = mock.events("token")[-1], mock.events("http-response")[-1]
        assert answered.t - requested.t >= 0.3
