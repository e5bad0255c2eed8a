"""Loading a configuration: its model, or a message with the file, the location and the fix, and without any value."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.config.load import load, parse
from dynamic_mcp.config.model import (
    REMOTE_START,
    Config,
    Features,
    HttpTransport,
    Server,
    SseTransport,
    StdioTransport,
    Timeouts,
)
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.secret import Secret

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

CANARY = "canary-7f3a"

STDIO = {"description": "d", "command": "c"}
HTTP = {"description": "d", "url": "https://example.com/mcp"}


def configuration_with(entry: object) -> str:
    return json.dumps({"mcpServers": {"files": entry}})


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "only blanks": " \n\t",
    "an array": "[]",
    "no mcpServers": "{}",
    "misspelt mcpServers": '{"mcpservers": {}}',
    "unknown field at the top": '{"mcpServers": {}, "version": 1}',
    "servers as an array": '{"mcpServers": []}',
    "a server that is a string": configuration_with("x"),
    "trailing comma": '{\n  "mcpServers": {},\n}',
    "truncated": '{"mcpServers": {',
    "two documents": '{"mcpServers": {}} {}',
    "a comment": '{\n  // servers\n  "mcpServers": {}\n}',
    "a column after wide characters": '{"mcpServers": {"\u00e9\u00e9": x}}',
    "not UTF-8": b'{\n "mcpServers": "\xff"}',
    "UTF-16": '{"mcpServers": {}}'.encode("utf-16"),
    "nested too deeply": '{"mcpServers": {"a": ' + "[" * 100_000,
    "no description": configuration_with({"command": "c"}),
    "neither command nor url": configuration_with({"description": "d"}),
    "command and url": configuration_with({**STDIO, **HTTP}),
    "empty command": configuration_with({**STDIO, "command": ""}),
    "unknown type": configuration_with({**STDIO, "type": "websocket"}),
    "type http with command": configuration_with({**STDIO, "type": "http"}),
    "type stdio with url": configuration_with({**HTTP, "type": "stdio"}),
    "empty cwd": configuration_with({**STDIO, "cwd": ""}),
    "cwd with url": configuration_with({**HTTP, "cwd": "/tmp"}),
    "headers with command": configuration_with({**STDIO, "headers": {"a": "b"}}),
    "OAuth client with command": configuration_with({**STDIO, "oauth_client_id": "x"}),
    "OAuth scopes with command": configuration_with({**STDIO, "oauth_scopes": ["x"]}),
    "args with url": configuration_with({**HTTP, "args": ["a"]}),
    "env with url": configuration_with({**HTTP, "env": {"A": "b"}}),
    "misspelt field": configuration_with({**STDIO, "arg": []}),
    "unknown field": configuration_with({**STDIO, "zzz": 1}),
    "misspelt feature": configuration_with({**STDIO, "features": {"tool": True}}),
    "misspelt timeout": configuration_with({**STDIO, "timeout": {"tool": "5s"}}),
    "a number in args": configuration_with({**STDIO, "args": ["a", 5]}),
    "a number in env": configuration_with({**STDIO, "env": {"A": 5}}),
    "a string for enabled": configuration_with({**STDIO, "enabled": "yes"}),
    "a number for timeout": configuration_with({**STDIO, "timeout": 5}),
    "a fraction of seconds": configuration_with({**STDIO, "timeout": {"tools": 1.5}}),
    "an unknown unit": configuration_with({**STDIO, "timeout": {"resources": "1h"}}),
    "a timeout of nothing": configuration_with({**STDIO, "timeout": {"prompts": 0}}),
    "a timeout beyond any float": configuration_with({**STDIO, "timeout": {"tools": 10**400}}),
    "a mistake in a disabled server": configuration_with({**STDIO, "enabled": False, "commmand": "x"}),
}


def test_message_for_every_mistake(
    snapshot: SnapshotAssertion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("config.json")
    messages = {}
    for mistake, text in BROKEN.items():
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        messages[mistake] = str(caught.value)
    assert all(message.startswith("config.json: ") for message in messages.values())
    assert messages == snapshot


def test_unreadable_file_has_a_reason(tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    with pytest.raises(ConfigError, match=f"^{missing}: cannot be read: No such file or directory$"):
        load(missing, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    with pytest.raises(ConfigError, match="not a path that can be opened"):
        load(Path("a\0b"), {})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_file_that_is_not_a_regular_one_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    link = tmp_path / "link.json"
    link.symlink_to(pipe)

    for path in (pipe, link):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read: it is a pipe; use a regular file$"):
            load(path, {})
    with pytest.raises(ConfigError, match="it is a device"):
        load(Path("/dev/zero"), {})


def test_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    path.touch()
    os.truncate(path, 1 << 40)

    with pytest.raises(ConfigError, match="it has more than 16777216 bytes"):
        load(path, {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_text('{"mcpServers": {}}')
    os.chown(path, 12345, -1)

    with pytest.raises(ConfigError, match=r"it belongs to another user \(uid 12345\)"):
        load(path, {})


FULL: dict[str, Any] = {
    "one": {
        "description": "The first",
        "type": "stdio",
        "command": "run",
        "args": ["-x", "${HOME}/d"],
        "env": {"TOKEN": "${SECRET}", "PLAIN": "p"},
        "features": {"prompts": False},
        "timeout": {"tools": "1min", "resources": 3},
    },
    "off": {**STDIO, "enabled": False, "args": ["${NEVER_SET}"]},
    "two": {
        **HTTP,
        "type": "http",
        "headers": {"Authorization": "Bearer ${SECRET}"},
        "oauth_client_id": "id-${HOME}",
        "oauth_scopes": ["a", "b"],
    },
    "three": {"description": "", "url": "https://${MISSING}/"},
    "four": {**HTTP, "type": "sse"},
}
ENVIRONMENT = {"HOME": "/home", "SECRET": "s3"}


def test_full_configuration() -> None:
    text = json.dumps({"$schema": "https://example.com/schema.json", "mcpServers": FULL})
    url = Secret("https://example.com/mcp")
    first = StdioTransport("run", ("-x", "/home/d"), (("TOKEN", Secret("s3")), ("PLAIN", Secret("p"))))
    second = HttpTransport(url, (("Authorization", Secret("Bearer s3")),), False, "id-/home", ("a", "b"))
    third = HttpTransport(Secret("https://${MISSING}/"), (), True, None, ())
    servers = (
        Server("one", "The first", first, Features(prompts=False), Timeouts(tools=60.0, resources=3.0)),
        Server("two", "d", second, Features(), Timeouts(start=REMOTE_START)),
        Server("three", "", third, Features(), Timeouts(start=REMOTE_START)),
        Server("four", "d", SseTransport(url, (), None, ()), Features(), Timeouts(start=REMOTE_START)),
    )

    loaded = parse(text.encode(), "f", ENVIRONMENT)

    assert loaded.servers == servers
    (warning,) = loaded.warnings
    assert "MISSING" in warning
    assert "mcpServers.three.url" in warning


@pytest.mark.parametrize(
    "text", [b'{"mcpServers":{}}', b'\xef\xbb\xbf{"mcpServers":{}}\n', b'\r\n{"mcpServers":{}}\r\n']
)
def test_configuration_without_servers_is_valid(text: bytes) -> None:
    assert parse(text, "f", {}) == Config(servers=())


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        (None, None),
        ("/srv", "/srv"),
        ("sub/../x", "/etc/mcp/sub/../x"),
        ("~/x", "/home/me/x"),
        ("${PLACE}", "/place"),
        ("${RELATIVE}", "/etc/mcp/below"),
        ("${HOME_RELATIVE}", "/home/me/y"),
        ("${EMPTY}", ""),
        ("${NEVER_SET}", "/etc/mcp/${NEVER_SET}"),
    ],
)
def test_cwd_is_a_full_path(written: str | None, folder: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    environment = {"PLACE": "/place", "RELATIVE": "below", "HOME_RELATIVE": "~/y", "EMPTY": ""}
    text = configuration_with({**STDIO, "cwd": written})

    (server,) = parse(text.encode(), "/etc/mcp/config.json", environment).servers

    assert isinstance(server.transport, StdioTransport)
    assert server.transport.cwd == folder


@pytest.mark.parametrize(
    ("written", "command"),
    [
        ("~/bin/x", "/home/me/bin/x"),
        ("~", "/home/me"),
        ("~no-such-user/x", "~no-such-user/x"),
        ("x~", "x~"),
        ("./~/x", "./~/x"),
        ("${TOOLS}/x", "/tools/x"),
        ("$TOOLS/x", "$TOOLS/x"),
    ],
)
def test_command_is_a_path(written: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = configuration_with({**STDIO, "command": written, "args": [written]})

    (server,) = parse(text.encode(), "f", {"TOOLS": "/tools"}).servers

    assert isinstance(server.transport, StdioTransport)
    assert server.transport.command == command
    assert server.transport.args == (written.replace("${TOOLS}", "/tools"),)


SECRET_PLACES = ["env", "headers", "args", "url", "oauth_client_id", "description", "command", "type"]
WRAPPINGS = [
    CANARY,
    [CANARY],
    {"x": CANARY},
    [[CANARY]],
    [{"x": CANARY}],
    {"x": [CANARY]},
    {"x": {"y": CANARY}},
]
BREAKS: list[dict[str, Any]] = [
    {},
    {"url": "https://example.com", "command": "c"},
    {"unknown": 1},
    {"args": [1]},
    {"env": {"A": None}},
    {"type": "ws"},
    {"timeout": {"tools": CANARY}},
    {"enabled": CANARY},
    {"features": {"tools": CANARY}},
    {"description": None},
]


@given(
    st.sampled_from(["one", "two"]),
    st.sampled_from([*SECRET_PLACES, "timeout", "features", "enabled", "oauth_scopes"]),
    st.sampled_from(WRAPPINGS),
    st.sampled_from(BREAKS),
    st.sampled_from([None, "truncated", "comma"]),
)
@settings(max_examples=200)
def test_messages_show_no_value(
    server: str, field: str, value: object, mistake: dict[str, Any], cut: str | None
) -> None:
    servers = copy.deepcopy(FULL)
    servers[server].update({field: value, **mistake})
    text = json.dumps({"mcpServers": servers})
    if cut is not None:
        text = text[:-1] if cut == "truncated" else text[:-1] + ",}"
    try:
        loaded = parse(text.encode(), "f", {**ENVIRONMENT, "SECRET": CANARY})
    except ConfigError as error:
        assert CANARY not in str(error)
        # A traceback would show the error of the decoder too.
        assert error.__context__ is None or error.__suppress_context__
    else:
        assert CANARY not in "".join(loaded.warnings)
        if not field.startswith("oauth_"):
            assert CANARY not in "".join(repr(server.transport) for server in loaded.servers)


def test_secret_is_hidden_until_revealed() -> None:
    secret = Secret(CANARY)
    assert CANARY not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert len({secret, Secret(CANARY)}) == 1
