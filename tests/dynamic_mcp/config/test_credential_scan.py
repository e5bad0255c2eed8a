"""Credentials in a file that others can read: which count as such, and when that is said."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from dynamic_mcp.config.credential_scan import credentials, warning
from dynamic_mcp.config.load import load

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
def test_a_literal_value_under_a_telling_name_is_a_credential(name: str) -> None:
    assert list(credentials({name: VALUE}, {}, None, "s")) == [f"s.env.{name}"]
    assert list(credentials({}, {name: VALUE}, None, "s")) == [f"s.headers.{name}"]


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names_are_not(name: str) -> None:
    assert list(credentials({name: VALUE}, {name: VALUE}, None, "s")) == []


@pytest.mark.parametrize("value", ["", " ", "${X}", "Bearer ${X}", "${A}${B}"])
def test_what_refers_to_a_variable_or_is_empty_is_not(value: str) -> None:
    assert list(credentials({"TOKEN": value}, {"Authorization": value}, None, "s")) == []


@pytest.mark.parametrize("value", ["$X", "${X", "Bearer x"])
def test_what_only_looks_like_a_reference_is(value: str) -> None:
    assert list(credentials({}, {"authorization": value}, None, "s")) == ["s.headers.authorization"]


def test_authorization_is_a_header_and_no_variable() -> None:
    assert list(credentials({"AUTHORIZATION": VALUE}, {}, None, "s")) == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://user:{VALUE}@host/mcp", True),
        (f"https://host/mcp?lang=en&api_key={VALUE}", True),
        ("https://user@host/mcp?lang=en&api_key=", False),
        ("https://user:${PASSWORD}@host/mcp?api_key=${KEY}", False),
        (f"https://host/token/{VALUE}?monkey={VALUE}", False),
        (f"https://[{VALUE}", False),
    ],
)
def test_an_address_can_hold_one(url: str, told: bool) -> None:
    assert list(credentials({}, {}, url, "s")) == (["s.url"] if told else [])


@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, False), (0o640, True), (0o604, True), (0o444, True), (0o622, False)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")
def test_the_mode_of_the_file_decides(tmp_path: Path, mode: int, told: bool) -> None:
    path = tmp_path / "config.json"
    # A server that is switched off stands in the file all the same.
    entry = {"description": "d", "command": "c", "env": {"TOKEN": VALUE}, "enabled": False}
    path.write_text(json.dumps({"mcpServers": {"a": entry}}))
    path.chmod(mode)

    said = load(path, {}).exposed

    assert bool(said) is told
    assert VALUE not in said
    if told:
        assert f"{path}: can be read by others (mode {mode:o})" in said
        assert "mcpServers.a.env.TOKEN" in said


def test_a_stream_is_nobodys_file() -> None:
    pipe = os.stat_result((stat.S_IFIFO | 0o644, *range(9)))

    assert warning("f", pipe, ["a"]) == ""
