"""Credentials in a file that other users can read: what counts as a credential, and when there is a warning."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from dynamic_mcp.extras.hardening.credential_scan import credentials, warnings

VALUE = "canary-93c1"
TELLING = [
    *("TOKEN", "GITHUB_TOKEN", "AUTHTOKEN", "TOKEN2", "TOKEN_VALUE"),
    *("secret", "CLIENT_SECRET", "Secrets", "DB_PASSWORD", "PGPASSWORD", "passwd"),
    *("KEY", "API_KEY", "APIKEY", "apiKey", "X-Api-Key", "SSH_KEYS", "AWS_ACCESS_KEY_ID"),
]
HARMLESS = [
    *("MODE", "Accept", "MAX_TOKENS", "TOKENIZERS_PARALLELISM"),
    *("MONKEY", "KEYBOARD", "KEYCLOAK_URL", "HTTP_KEEPALIVE"),
    *("TLS_KEY_FILE", "tokenFile", "SSH_KEY_PATH"),
]


@pytest.mark.parametrize("name", TELLING)
def test_literal_value_with_a_credential_name_counts(name: str) -> None:
    assert list(credentials({name: VALUE}, {}, None, "s")) == [f"s.env.{name}"]
    assert list(credentials({}, {name: VALUE}, None, "s")) == [f"s.headers.{name}"]


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names_do_not_count(name: str) -> None:
    assert list(credentials({name: VALUE}, {name: VALUE}, None, "s")) == []


@pytest.mark.parametrize("value", ["", " ", "${X}", "Bearer ${X}", "${A}${B}"])
def test_references_and_empty_values_do_not_count(value: str) -> None:
    assert list(credentials({"TOKEN": value}, {"Authorization": value}, None, "s")) == []


@pytest.mark.parametrize("value", ["$X", "${X", "Bearer x"])
def test_values_similar_to_references_count(value: str) -> None:
    assert list(credentials({}, {"authorization": value}, None, "s")) == ["s.headers.authorization"]


def test_authorization_counts_only_as_a_header() -> None:
    assert list(credentials({"AUTHORIZATION": VALUE}, {}, None, "s")) == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"https://user:{VALUE}@host/mcp", True),
        (f"https://host/mcp?lang=en&api_key={VALUE}", True),
        ("https://user@host/mcp?lang=en&api_key=", False),
        ("https://user:${PASSWORD}@host/mcp?api_key=${KEY}", False),
        (f"https://host/token/{VALUE}?monkey={VALUE}", False),
        (f"https://[{VALUE}", False),
    ],
)
def test_credentials_in_a_url_count(url: str, expected: bool) -> None:
    assert list(credentials({}, {}, url, "s")) == (["s.url"] if expected else [])


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, False), (0o640, True), (0o604, True), (0o444, True), (0o620, False)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")
def test_mode_of_the_file_decides(tmp_path: Path, mode: int, expected: bool) -> None:
    path = tmp_path / "config.json"
    # The entry of a disabled server is in the file too.
    entry = {"description": "d", "command": "c", "env": {"TOKEN": VALUE}, "enabled": False}
    path.write_text(json.dumps({"mcpServers": {"a": entry}}))
    path.chmod(mode)

    text = "".join(warnings(path))

    assert bool(text) is expected
    assert VALUE not in text
    if expected:
        assert f"{path}: can be read by others (mode {mode:o})" in text
        assert "mcpServers.a.env.TOKEN" in text


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"oauth_client_secret": VALUE}, "oauth_client_secret"),
        ({"oauth": {"client_secret": VALUE}}, "oauth.client_secret"),
        ({"oauth": {"private_key_jwt": {"key": VALUE}}}, "oauth.private_key_jwt.key"),
        ({"oauth": {"client_id": VALUE, "client_secret": "${SECRET}"}}, None),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")
def test_secret_of_a_client_counts(tmp_path: Path, members: dict[str, object], place: str | None) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mcpServers": {"a": {"url": "https://e.org", **members}}}))
    path.chmod(0o644)

    text = "".join(warnings(path))

    assert VALUE not in text
    assert (f"mcpServers.a.{place}" in text) if place else text == ""


@pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")
def test_file_that_every_user_can_change_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"mcpServers": {}}')
    path.chmod(0o602)

    (text,) = warnings(path)

    assert f"{path}: can be changed by every user (mode 602)" in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in the file system")
def test_pipe_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)

    assert warnings(pipe) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mcpServers": []}', '{"mcpServers": {"a": 1}}'])
def test_changed_or_missing_file_gives_no_warning(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)

    assert warnings(path) == ()
    assert warnings(tmp_path / "gone.json") == ()
