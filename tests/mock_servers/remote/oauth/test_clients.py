"""Clients that the authorization server knows by hand: secrets, proofs, redirect URIs and the client credentials grant."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mock_servers.oauth_script import OAuth
from mock_servers.remote.oauth.client_proofs import TYPE, ClientProofs
from mock_servers.script import Script

from ..driver import RemoteMockDriver, json_of, remote
from .driver import ask_token, authorize


def ask(mock: RemoteMockDriver, **form: str) -> dict[str, Any]:
    return json_of(ask_token(mock, grant_type="client_credentials", **form))


def test_secret_brings_a_token_without_a_user(tmp_path: Path) -> None:
    oauth = OAuth(client_auth="client_secret_post", client_secret="s", client_credentials=True)
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        assert ask(mock)["error"] == "invalid_client"
        assert ask(mock, client_secret="x")["error"] == "invalid_client"
        given = ask(mock, client_secret="s", scope="a")
        assert (given["scope"], "refresh_token" in given) == ("a", False)


def test_public_client_gets_no_token_for_itself(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(client_credentials=True))) as mock:
        assert ask(mock)["error"] == "unsupported_grant_type"


def test_redirect_uri_has_to_be_exact(tmp_path: Path) -> None:
    oauth = OAuth(redirect_uris=["http://127.0.0.1:9/callback"])
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        assert "code" in authorize(mock)
        assert "refused" in authorize(mock, redirect_uri="http://127.0.0.1:10/callback")


def test_gateway_wants_its_header(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(gateway={"X-Key": "k"}))) as mock:
        path = "/.well-known/oauth-authorization-server"
        assert mock.request("GET", path).status == 403
        assert mock.request("GET", path, X_Key="k").status == 200
        assert "code" in authorize(mock)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"aud": "elsewhere"}, "not valid"),
        ({"aud": ["as"]}, "several audiences"),
        ({"iss": "other"}, "not valid"),
        ({"sub": "other"}, "sub"),
        ({"exp": 1}, "not valid"),
        ({"exp": 2**33}, "too long"),
        ({"jti": None}, "not valid"),
    ],
)
def test_proof_is_judged(changed: dict[str, Any], problem: str | None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = {"iss": "c", "sub": "c", "aud": "as", "exp": int(time.time()) + 60, "jti": "1", **changed}
    proof = jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm="ES256")
    proofs = ClientProofs(public.decode())
    params = {"client_assertion_type": TYPE, "client_assertion": proof}

    found = proofs.problem_of(params, "c", ["as"])

    assert found is None if problem is None else problem in str(found)
    if problem is None:
        assert "before" in str(proofs.problem_of(params, "c", ["as"]))
