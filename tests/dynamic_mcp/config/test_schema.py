"""The published schema and the parser have the same fields, and accept the same configurations."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dynamic_mcp.config.load import SERVER_ENTRY, parse, schema
from dynamic_mcp.config.model import Features
from dynamic_mcp.config.oauth import KeyEntry, OAuthEntry
from dynamic_mcp.config.security import AuditEntry, LimitsEntry, RateLimitEntry, SecurityEntry, SecurityForAll
from dynamic_mcp.config.tool_rules import ToolsEntry
from dynamic_mcp.errors import ConfigError

SCHEMA = json.loads(schema())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_schema_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("server", SERVER_ENTRY),
        ("oauth", OAuthEntry),
        ("privateKey", KeyEntry),
        ("features", Features),
        ("tools", ToolsEntry),
        ("security", SecurityEntry),
        ("securityForAll", SecurityForAll),
        ("limits", LimitsEntry),
        ("rateLimit", RateLimitEntry),
    ],
)
def test_schema_and_parser_have_the_same_fields(name: str, kind: type[msgspec.Struct]) -> None:
    section = SCHEMA["$defs"][name]
    fields = msgspec.structs.fields(kind)

    assert list(section["properties"]) == [field.encode_name for field in fields]
    assert section.get("required", []) == [field.encode_name for field in fields if field.required]


def test_schema_and_parser_have_the_same_audit_fields() -> None:
    section = SCHEMA["$defs"]["securityForAll"]["properties"]["audit"]["anyOf"][0]

    assert tuple(section["properties"]) == AuditEntry.__struct_fields__


def is_accepted(config: object) -> bool:
    try:
        parse(json.dumps(config).encode(), "f", {})
    except ConfigError:
        return False
    return True


#: Valid and invalid values for each field, so that a random configuration is often close to a valid one.
SOME: dict[str, list[Any]] = {
    "description": ["d", 1],
    "type": ["stdio", "http", "sse", "x", None],
    "command": ["c", None, 1, ""],
    "args": [[], ["x"], [1], "x", None],
    "env": [{}, {"A": "b"}, {"A": 1}, {"A": None}, None],
    "cwd": ["x", None, 1, ""],
    "url": ["https://example.com", None, 1],
    "headers": [{"A": "b"}, {"A": None}, None],
    "oauth_client_id": ["x", None, 1],
    "oauth_client_secret": [None, 1],
    "oauth_scopes": [["a"], "a", None],
    "oauth": [
        {},
        None,
        {"client_id": "x", "client_secret": "y", "scopes": ["a"], "redirect_port": 3118},
        {"client_id": "x", "private_key_jwt": {"file": "~/k.pem"}, "grant": "client_credentials"},
        {"client_id": "x", "private_key_jwt": {"key": "k", "algorithm": "ES256", "key_id": "1"}},
        {"private_key_jwt": {}},
        {"client_id": "x", "private_key_jwt": {"file": "a", "key": "b"}},
        {"client_id": "x", "private_key_jwt": {"file": "a", "algorithm": "none"}},
        {"client_secret": 1},
        {"client_id": "x", "client_secret": ""},
        {"grant": "password"},
        {"redirect_port": 0},
        {"redirect_port": 70000},
        *({"redirect_uri": uri} for uri in ("http://localhost", "http://127.0.0.1:1/a", "http://[::1]/x")),
        *(
            {"redirect_uri": uri}
            for uri in ("https://localhost/", "http://e.org/", "http://localhost/?a", "")
        ),
        {"resource": False},
        {"resource": "api://x"},
        {"resource": ""},
        {"resource": 1},
        {"authorization_parameters": {"prompt": "consent"}},
        {"authorization_parameters": {"state": "x"}},
        {"authorization_parameters": {"prompt": 1}},
        {"issuer": "https://login.example/tenant"},
        {"issuer": "${ISSUER}"},
        {"issuer": "login.example"},
        {"assume_pkce": True},
        {"assume_pkce": 1},
        {"scope": []},
    ],
    "oauth_private_hosts": [
        ["login.corp.example", "10.0.0.5", "fd00::1"],
        "a",
        ["https://a"],
        ["a:1"],
        [""],
        None,
    ],
    "oauth_at_start": [True, False, 1, "a", None],
    "enabled": [True, 1, None],
    "shared": [False, 0, None],
    "features": [{}, {"tools": False}, {"tools": 0}, {"x": True}, None],
    "tools": [
        {},
        {"allow": [], "deny": ["a", "b_*"]},
        {"allow": None},
        {"deny": "a"},
        {"deny": [""]},
        {"deny": [" "]},
        {"allow": [1]},
        {"x": []},
        ["a"],
        None,
    ],
    "timeout": [
        {"tools": "5s"},
        {"tools": 5},
        {"tools": None},
        {"tools": "5"},
        {"tools": "5h"},
        {"x": 1},
        {"tools": 0},
        None,
    ],
    "require_https": [True, None, "x"],
    "validate_arguments": [True, None, 1],
    "rate_limit": [
        {"calls": 1, "per": "1s"},
        None,
        {"calls": 0, "per": 1},
        {"calls": 1},
        {"calls": 1, "per": "x"},
    ],
    "max_concurrent_calls": [1, None, 0, 1.5, 10**9],
    "max_message_size": ["1MiB", 5, None, "1", "1mb", -1],
    "environment": [["A", "B_*", "*"], None, ["A=B"], ["*A"], [""], [1]],
    "limits": [
        {"memory": "1GiB", "cpu_time": 5, "open_files": 9},
        None,
        {"memory": "x"},
        {"processes": 0},
        {"x": 1},
    ],
    "command_prefix": [["x", ""], [], None, [""], "x"],
    "audit": [
        {"file": "x"},
        None,
        {"file": "x", "arguments": "digest"},
        {"file": " "},
        {"file": "x", "arguments": "y"},
    ],
    "token_store": ["file", "keyring", "x", None],
}


def subset_of(fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(SOME[name]) for name in fields})


of_server = [
    name for name in SERVER_ENTRY.__struct_fields__ if name not in ("security", "description", "command")
]
entries = st.builds(
    lambda more, security: {
        "description": "d",
        "command": "c",
        **more,
        **({"security": security} if security else {}),
    },
    subset_of(["description"]).flatmap(lambda own: subset_of(of_server).map(lambda more: {**more, **own})),
    subset_of(list(SecurityEntry.__struct_fields__)),
)
configurations = st.builds(
    lambda entry, security: {"mcpServers": {"a": entry}, **({"security": security} if security else {})},
    entries,
    subset_of(list(SecurityForAll.__struct_fields__)),
)
#: Only the parser relates fields to transports; the schema does not.
MIXED = ("belongs to a server with", "has both 'command' and 'url'", "needs 'url'", "needs 'command'")


@pytest.mark.slow
@given(configurations)
@settings(max_examples=600)
def test_schema_and_parser_accept_the_same_configurations(config: dict[str, Any]) -> None:
    by_schema = VALIDATOR.is_valid(config)
    try:
        parse(json.dumps(config).encode(), "f", {})
    except ConfigError as error:
        if not any(what in str(error) for what in MIXED):
            assert not by_schema, error
    else:
        assert by_schema, [error.message for error in VALIDATOR.iter_errors(config)]


@pytest.mark.parametrize("field", SOME)
def test_schema_and_parser_accept_the_same_values(field: str) -> None:
    for value in SOME[field]:
        config: dict[str, Any] = {"mcpServers": {}}
        if field in ("audit", "token_store"):
            config["security"] = {field: value}
        elif field in SecurityForAll.__struct_fields__:
            config["security"] = {field: value}
            config["mcpServers"]["a"] = {"description": "d", "command": "c"}
        else:
            base = (
                {"description": "d", "url": "https://e.org"}
                if field in REMOTE
                else {"description": "d", "command": "c"}
            )
            config["mcpServers"]["a"] = {**base, field: value}
        mixed = field == "type" and value in ("http", "sse")
        if not mixed and not (field in ("url", "command") and value is None):
            assert VALIDATOR.is_valid(config) == is_accepted(config), (field, value)


@pytest.mark.parametrize("member", ["max_listing_size", "max_answer_size"])
@pytest.mark.parametrize("value", ["6KB", 1, None, 0, "x", 1.5, [], True])
def test_schema_and_parser_accept_the_same_sizes(member: str, value: object) -> None:
    config = {"mcpServers": {}, member: value}
    assert VALIDATOR.is_valid(config) == is_accepted(config)


REMOTE = (
    *(
        "url",
        "headers",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scopes",
        "oauth_private_hosts",
        "oauth",
        "oauth_at_start",
    ),
)


def test_command_prints_the_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dynamic_mcp", "schema"], capture_output=True, timeout=30, check=True
    )

    assert done.stdout == schema()
