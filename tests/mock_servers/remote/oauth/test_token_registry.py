"""Codes, tokens and clients: how long they are valid, and for whom."""

import time
from pathlib import Path
from typing import Any

import pytest

from mock_servers.oauth_script import OAuth
from mock_servers.remote_actions import refuse_tokens, revoke_tokens
from mock_servers.script import Script, on_call

from ..driver import json_of, remote
from .driver import CALLBACK, authorize, exchange, refresh, status_with


def test_second_use_of_a_code_revokes_its_tokens(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        code = authorize(mock)["code"]
        given = exchange(mock, code)
        assert status_with(mock, given["access_token"]) == 200
        assert exchange(mock, code)["error"] == "invalid_grant"
        assert status_with(mock, given["access_token"]) == 401


def test_reuse_of_a_rotated_refresh_token_revokes_the_family(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth") as mock:
        first = exchange(mock, authorize(mock)["code"])
        second = refresh(mock, first["refresh_token"])
        assert refresh(mock, first["refresh_token"])["error"] == "invalid_grant"
        assert refresh(mock, second["refresh_token"])["error"] == "invalid_grant"
        assert status_with(mock, second["access_token"]) == 401


def test_refresh_token_stays_valid_without_rotation(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth", None, "--no-rotation", "--expires-in", "360") as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert first["expires_in"] == 360
        for _ in range(2):
            assert "refresh_token" not in refresh(mock, first["refresh_token"])
        assert refresh(mock, first["refresh_token"], scope="more")["error"] == "invalid_scope"


def test_access_token_expires_after_its_lifetime(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(lifetimes=[0, None]))) as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert first["expires_in"] == 0
        refused = mock.call(Authorization=f"Bearer {first['access_token']}")
        assert refused.status == 401
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
        second = refresh(mock, first["refresh_token"])
        assert "expires_in" not in second
        assert status_with(mock, second["access_token"]) == 200


def test_revoke_tokens_action(tmp_path: Path) -> None:
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


def test_refuse_tokens_action_ends_by_itself(tmp_path: Path) -> None:
    script = Script(oauth=OAuth(), on=[on_call("add", refuse_tokens(1.0))])
    with remote(tmp_path, "http", script) as mock:
        first = exchange(mock, authorize(mock)["code"])
        assert status_with(mock, first["access_token"], "add") == 200
        began = time.monotonic()
        second = refresh(mock, first["refresh_token"])
        while status_with(mock, second["access_token"]) == 401:
            assert time.monotonic() < began + 10
            time.sleep(0.05)
        assert time.monotonic() > began + 0.5
        assert status_with(mock, first["access_token"]) == 200


def test_session_can_be_bound_to_its_token(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(bound_sessions=True))) as mock:
        first = exchange(mock, authorize(mock)["code"])
        second = refresh(mock, first["refresh_token"])
        statuses = [
            mock.call("echo", Authorization=f"Bearer {token['access_token']}", Mcp_Session_Id=session).status
            for token, session in [(first, "a"), (second, "b"), (second, "a"), (first, "b"), (first, "a")]
        ]
        assert statuses == [200, 200, 401, 401, 200]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_registered_client_needs_its_secret_and_redirect_uri(tmp_path: Path, method: Any) -> None:
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


def test_localhost_redirect_uri_needs_its_exact_port(tmp_path: Path) -> None:
    with remote(tmp_path, "oauth", None, "--registration") as mock:
        uris = {"redirect_uris": ["http://localhost:9/callback"]}
        client = json_of(mock.request("POST", "/register", uris))
        assert client["token_endpoint_auth_method"] == "none"
        params = {"client_id": client["client_id"], "redirect_uri": "http://localhost:10/callback"}
        assert authorize(mock, **params) == {"refused": "invalid_request"}
