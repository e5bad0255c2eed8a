"""The table `oauth` of an entry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import OAuthSettings, RemoteTransport
from dynamic_mcp.errors import ConfigError

ENVIRONMENT = {"ID": "the-id", "SECRET": "canary-secret", "SCOPES": "a b", "ISSUER": "https://login.test"}


def loaded(**members: Any) -> RemoteTransport:
    entry = {"description": "d", "url": "https://e.org/mcp", "type": "http", **members}
    transport = (
        parse(json.dumps({"mcpServers": {"docs": entry}}).encode(), "/configs/f.json", ENVIRONMENT)
        .servers[0]
        .transport
    )
    assert isinstance(transport, RemoteTransport)
    return transport


def mistakes(**members: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(**members)
    return str(caught.value)


def test_table_and_short_forms_mean_the_same() -> None:
    values = {"client_id": "${ID}", "client_secret": "${SECRET}", "scopes": ["${SCOPES}", "c"]}
    short = loaded(**{f"oauth_{name}": value for name, value in values.items()})

    assert loaded(oauth=values) == short
    assert (short.oauth_client_id, short.oauth_scopes) == ("the-id", ("a", "b", "c"))
    assert short.oauth.secrets() == ("canary-secret",)


def test_without_a_table_nothing_changes() -> None:
    assert loaded().oauth == loaded(oauth=None).oauth == loaded(oauth={}).oauth == OAuthSettings()


@pytest.mark.parametrize(
    ("table", "uri"),
    [
        ({"redirect_port": 3118}, "http://127.0.0.1:3118/oauth/callback"),
        ({"redirect_uri": "http://localhost:3118/callback"}, "http://localhost:3118/callback"),
        ({}, None),
    ],
)
def test_redirect_uri(table: dict[str, Any], uri: str | None) -> None:
    assert loaded(oauth=table).oauth.redirect_uri == uri


def test_file_of_a_key_is_beside_the_configuration() -> None:
    oauth = loaded(oauth={"client_id": "x", "private_key_jwt": {"file": "keys/${ID}.pem"}}).oauth

    assert oauth.key is not None
    assert oauth.key.file == "/configs/keys/the-id.pem"


def test_values_are_expanded() -> None:
    oauth = loaded(
        oauth={"issuer": "${ISSUER}", "resource": "api://${ID}", "authorization_parameters": {"a": "${ID}"}}
    ).oauth

    assert (oauth.issuer, oauth.resource) == ("https://login.test", "api://the-id")
    assert oauth.parameters == (("a", "the-id"),)


def test_secrets_are_hidden() -> None:
    transport = loaded(oauth={"client_id": "x", "client_secret": "${SECRET}"})

    assert "canary" not in repr(transport)
    assert transport.hidden().hide("says canary-secret") == "says [hidden]"


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"oauth_client_id": "a", "oauth": {"client_id": "b"}}, "oauth_client_id"),
        ({"oauth_scopes": ["a"], "oauth": {"scopes": ["b"]}}, "oauth_scopes"),
        ({"oauth": {"client_secret": "s"}}, "no 'client_id'"),
        ({"oauth": {"client_id": "a", "client_secret": "s", "private_key_jwt": {"file": "k"}}}, "one way"),
        ({"oauth": {"client_id": "a", "private_key_jwt": {}}}, "private_key_jwt"),
        ({"oauth": {"client_id": "a", "grant": "client_credentials"}}, "oauth.grant"),
        ({"oauth": {"redirect_port": 1, "redirect_uri": "http://localhost:1/"}}, "redirect_port"),
        ({"oauth": {"redirect_uri": "https://elsewhere.example/callback"}}, "redirect_uri"),
        ({"oauth": {"redirect_uri": "http://[/"}}, "redirect_uri"),
        ({"oauth": {"authorization_parameters": {"state": "x"}}}, "'state'"),
        ({"oauth": {"issuer": "login.test"}}, "oauth.issuer"),
        ({"oauth": {"resource": ""}}, "oauth.resource"),
        ({"oauth": {"clientId": "a"}}, "did you mean 'client_id'"),
    ],
)
def test_mistakes_name_their_place(members: dict[str, Any], place: str) -> None:
    assert place in mistakes(**members)
