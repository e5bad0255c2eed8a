"""The ``security`` sections: the one for all servers, the one of a server, and the messages about mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import (
    Audit,
    CallRules,
    Config,
    RateLimit,
    RemoteTransport,
    ResourceLimits,
    Server,
    StdioTransport,
)
from dynamic_mcp.config.size import size
from dynamic_mcp.errors import ConfigError

CHILD = {"description": "d", "command": "c"}
REMOTE = {"description": "d", "url": "https://example.com/mcp"}


def read(
    for_all: dict[str, Any] | None = None, own: dict[str, Any] | None = None, entry: dict[str, Any] = CHILD
) -> Config:
    servers = {"a": {**entry, **({} if own is None else {"security": own})}}
    text = json.dumps({"mcpServers": servers, **({} if for_all is None else {"security": for_all})})
    return parse(text.encode(), "config.json", {"HOME": "/home/x", "BOX": "bwrap"})


def the_server(*sections: Any, **more: Any) -> Server:
    (server,) = read(*sections, **more).servers
    return server


def test_everything_is_off_by_default() -> None:
    server, config = the_server(), read()

    assert server.policy == CallRules()
    assert server.transport == StdioTransport("c", (), ())
    assert (config.audit, config.token_store) == (None, "file")


def test_settings_reach_their_parts() -> None:
    server = the_server(
        {
            "rate_limit": {"calls": 5, "per": "2s"},
            "max_concurrent_calls": 3,
            "validate_arguments": True,
            "max_message_size": "1MiB",
            "environment": ["PATH", "LC_*"],
            "limits": {"memory": "1GiB", "cpu_time": "1500ms", "open_files": 64, "processes": 9},
            "command_prefix": ["${BOX}", "--die-with-parent"],
        }
    )

    assert server.policy == CallRules(True, RateLimit(5, 2.0), 3)
    assert server.transport == StdioTransport(
        "c",
        (),
        (),
        environment=("PATH", "LC_*"),
        limits=ResourceLimits(1 << 30, 2, 64, 9),
        prefix=("bwrap", "--die-with-parent"),
        max_message_size=1 << 20,
    )


def test_setting_of_a_server_wins_even_if_null() -> None:
    for_all = {"max_concurrent_calls": 3, "rate_limit": {"calls": 5, "per": 1}, "validate_arguments": True}

    server = the_server(for_all, {"max_concurrent_calls": 1, "rate_limit": None})

    assert server.policy == CallRules(True, None, 1)


def test_settings_for_children_do_not_affect_a_server_behind_a_url() -> None:
    server = the_server({"environment": [], "command_prefix": ["x"], "require_https": True}, entry=REMOTE)

    assert isinstance(server.transport, RemoteTransport)
    assert server.transport.require_https


@pytest.mark.parametrize(
    ("url", "required", "expected"),
    [
        ("http://example.com/mcp?key=canary", False, True),
        ("http://example.com/mcp", True, False),
        ("http://127.0.0.1:80/mcp", False, False),
        ("https://example.com/mcp", False, False),
    ],
)
def test_plain_http_has_a_warning_unless_it_is_refused(url: str, required: bool, expected: bool) -> None:
    config = read({"require_https": required}, entry={**REMOTE, "url": url})

    assert [warning.startswith("mcpServers.a.url begins with http://") for warning in config.warnings] == [
        True
    ] * expected
    assert "canary" not in "".join(config.warnings)


def test_token_store_applies_to_servers_behind_a_url() -> None:
    server = the_server({"token_store": "keyring"}, entry=REMOTE)

    assert isinstance(server.transport, RemoteTransport)
    assert server.transport.token_store == "keyring"
    assert the_server({"token_store": "keyring"}) == the_server()


def test_audit_file_expands_the_home_of_the_user() -> None:
    audit = read({"audit": {"file": "${HOME}/audit.jsonl"}, "token_store": "keyring"})

    assert audit.audit == Audit(Path("/home/x/audit.jsonl"))
    assert audit.token_store == "keyring"


@pytest.mark.parametrize(
    ("for_all", "own", "entry", "message"),
    [
        ({"rate_limit": {"calls": 0, "per": 1}}, {}, CHILD, "security.rate_limit.calls: must be >= 1"),
        ({"rate_limit": {"calls": 1, "per": "x"}}, {}, CHILD, "security.rate_limit.per: is not a duration"),
        (
            {"rate_limit": {"calls": 1, "per": "x"}},
            {"rate_limit": {"calls": 1, "per": "1s"}},
            CHILD,
            "security.rate_limit.per: is not a duration",
        ),
        ({"rate_limit": {"calls": 1}}, {}, CHILD, "security.rate_limit: required field 'per' is missing"),
        ({"limits": {"mem": 1}}, {}, CHILD, "security.limits: unknown field 'mem'; did you mean 'memory'?"),
        ({"limits": {"memory": "9"}}, {}, CHILD, "security.limits.memory: is not a size"),
        ({"limits": {"cpu_time": 0}}, {}, CHILD, "security.limits.cpu_time: must be more than zero"),
        ({"max_message_size": -1}, {}, CHILD, "security.max_message_size: must be more than zero"),
        ({"token_store": "x"}, {}, CHILD, "security.token_store: must be 'file' or 'keyring'"),
        ({"audit": {"file": ""}}, {}, CHILD, "security.audit.file: is empty"),
        ({"audit": {"file": "a\0b"}}, {}, CHILD, "security.audit.file: is empty or has a NUL"),
        (
            {"audit": {"file": "~no-such-user/a"}},
            {},
            CHILD,
            "security.audit.file: there is no user of that name",
        ),
        (
            {"audit": {"file": "x", "arguments": "y"}},
            {},
            CHILD,
            "security.audit.arguments: must be 'none' or",
        ),
        ({"environment": ["A", "B=C"]}, {}, CHILD, "security.environment[1]: is not the name of a variable"),
        ({"command_prefix": [""]}, {}, CHILD, "security.command_prefix[0]: is empty"),
        ({}, {"validate": True}, CHILD, "mcpServers.a.security: unknown field 'validate'; did you mean"),
        ({}, {"audit": {"file": "x"}}, CHILD, "mcpServers.a.security: unknown field 'audit'; known are"),
        (
            {},
            {"require_https": True},
            CHILD,
            "mcpServers.a.security.require_https: belongs to a server with",
        ),
        ({}, {"limits": {}}, REMOTE, "mcpServers.a.security.limits: belongs to a server with 'command'"),
    ],
)
def test_mistakes_have_their_location(
    for_all: dict[str, Any], own: dict[str, Any], entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(for_all, own, entry)

    (mistake,) = caught.value.mistakes
    assert mistake.problem.startswith(message)


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [(7, 7), ("7B", 7), ("2KB", 2000), ("2KiB", 2048), ("3MiB", 3 << 20), ("1GB", 10**9)],
)
def test_sizes(written: str | int, bytes_: int) -> None:
    assert size(written) == bytes_


@pytest.mark.parametrize("written", ["", "1", "1 MB", "MB", "-1MB", "1TB", "1.5MB", 0, -1, 10**30])
def test_invalid_sizes(written: str | int) -> None:
    with pytest.raises(ValueError, match=r"size|more than zero"):
        size(written)
