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

from dynamic_mcp.config.duration import DURATION_SYNTAX
from dynamic_mcp.config.load import load, parse
from dynamic_mcp.config.model import (
    REMOTE_START,
    Config,
    Features,
    RemoteTransport,
    Server,
    StdioTransport,
    Timeouts,
)
from dynamic_mcp.config.size import SIZE_SYNTAX
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
    "a listing of no size": '{"mcpServers": {}, "max_listing_size": 0}',
    "answers of no size": '{"mcpServers": {}, "max_answer_size": "big"}',
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
    "an empty name": json.dumps({"mcpServers": {"": STDIO}}),
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
    "tools as a list": configuration_with({**STDIO, "tools": ["a"]}),
    "a string for the allowed tools": configuration_with({**STDIO, "tools": {"allow": "a"}}),
    "a number among the denied tools": configuration_with({**STDIO, "tools": {"deny": ["a", 5]}}),
    "a blank pattern": configuration_with({**STDIO, "tools": {"deny": ["a", " "]}}),
    "misspelt list of tools": configuration_with({**STDIO, "tools": {"disallow": ["a"]}}),
    "misspelt timeout": configuration_with({**STDIO, "timeout": {"tool": "5s"}}),
    "a number in args": configuration_with({**STDIO, "args": ["a", 5]}),
    "a number in env": configuration_with({**STDIO, "env": {"A": 5}}),
    "a string for enabled": configuration_with({**STDIO, "enabled": "yes"}),
    "a number for timeout": configuration_with({**STDIO, "timeout": 5}),
    "a fraction of seconds": configuration_with({**STDIO, "timeout": {"tools": 1.5}}),
    "an unknown unit": configuration_with({**STDIO, "timeout": {"resources": "1d"}}),
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


@pytest.mark.parametrize(("entry", "size"), [({}, 6_000), ({"max_listing_size": "1MiB"}, 1 << 20)])
def test_size_of_a_listing(entry: dict[str, object], size: int) -> None:
    config = parse(json.dumps({"mcpServers": {"a": STDIO}, **entry}).encode(), "f", {})
    assert [server.max_listing_size for server in config.servers] == [size]


@pytest.mark.parametrize(("entry", "size"), [({}, None), ({"max_answer_size": "1MiB"}, 1 << 20)])
def test_size_of_an_answer(entry: dict[str, object], size: int | None) -> None:
    config = parse(json.dumps({"mcpServers": {"a": STDIO}, **entry}).encode(), "f", {})
    assert [server.max_answer_size for server in config.servers] == [size]


def test_all_mistakes_are_reported_at_once() -> None:
    text = b"""{
  "mcpServers": {
    "a": {"description": 5, "command": "x", "args": [1, "b", null], "timeout": {"tools": "x", "start": true}},
    "b": {"description": "d", "url": "http://x", "args": ["v"], "type": "stdio", "uri": 1},
    "c": [],
    "d.e": {"description": "d", "command": 7, "env": {"A B": 1}, "security": {"limits": {"memory": "x", "processes": 0}}}
  },
  "security": {"rate_limit": {"calls": "a", "per": "1s"}}
}"""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f", {})

    assert caught.value.mistakes == (
        ("line 3, column 26", "mcpServers.a.description: must be a string, found a number"),
        ("line 3, column 54", "mcpServers.a.args[0]: must be a string, found a number"),
        ("line 3, column 62", "mcpServers.a.args[2]: must be a string, found null"),
        ("line 3, column 90", f"mcpServers.a.timeout.tools: is not a duration; write {DURATION_SYNTAX}"),
        (
            "line 3, column 104",
            "mcpServers.a.timeout.start: must be a whole number or a string, found true or false",
        ),
        (
            "line 4, column 58",
            "mcpServers.b.args: belongs to a server with 'command', this one has 'url'",
        ),
        ("line 4, column 73", "mcpServers.b.type: 'stdio' needs 'command', not 'url'"),
        ("line 4, column 82", "mcpServers.b: unknown field 'uri'; did you mean 'url'?"),
        ("line 5, column 10", "mcpServers.c: must be an object, found an array"),
        ("line 6, column 44", "mcpServers.d.e.command: must be a string, found a number"),
        ("line 6, column 62", "mcpServers.d.e.env.A B: must be a string, found a number"),
        (
            "line 6, column 100",
            f"mcpServers.d.e.security.limits.memory: is not a size; write {SIZE_SYNTAX}",
        ),
        ("line 6, column 118", "mcpServers.d.e.security.limits.processes: must be >= 1"),
        ("line 8, column 40", "security.rate_limit.calls: must be a whole number, found a string"),
    )
    assert caught.value.lines[0] == "f: 14 mistakes"
    assert len(caught.value.lines) == 15
    assert "\n" not in str(caught.value)


def test_long_list_of_mistakes_is_cut() -> None:
    servers = {f"s{n}": 1 for n in range(50)}
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"mcpServers": servers}).encode(), "f", {})

    assert caught.value.lines[-1] == "  and 30 more"
    assert len(caught.value.lines) == 22


ENTRY = '{"description": "d", "command": "c"}'


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            f'{{"mcpServers": {{"a": {ENTRY},\n"a": {ENTRY}}}}}',
            ("line 2, column 1", "mcpServers: 'a' is there twice, first at line 1, column 17"),
        ),
        (
            f'{{"mcpServers": {{"a": {ENTRY}}},\n "mcpServers": {{"a": {ENTRY}}}}}',
            ("line 2, column 2", "the top level: 'mcpServers' is there twice, first at line 1, column 2"),
        ),
        (
            f'{{"mcpServers": {{"\u00e9": {ENTRY},\n"\\u00e9": {ENTRY}}}}}',
            ("line 2, column 1", "mcpServers: '\u00e9' is there twice, first at line 1, column 17"),
        ),
        (
            '{"mcpServers": {"a": {"description": "d", "command": "c", "env": {"A": "1", "A": "2"}}}}',
            ("line 1, column 77", "mcpServers.a.env: 'A' is there twice, first at line 1, column 67"),
        ),
        (
            '{"mcpServers": {"a": {"description": "d", "url": "c", "timeout": {"tools": 1, "tools": 1}}}}',
            ("line 1, column 79", "mcpServers.a.timeout: 'tools' is there twice, first at line 1, column 67"),
        ),
        (
            '{"mcpServers": {"a": {"description": "d", "url": "c", "headers": {"X-A": "1", "x-a": "2"}}}}',
            ("line 1, column 79", "mcpServers.a.headers: 'x-a' is there twice, also as 'X-A'; remove one"),
        ),
    ],
)
def test_member_that_is_there_twice_is_a_mistake_with_both_places(
    text: str, mistake: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "f", {})

    ((place, problem),) = caught.value.mistakes
    assert place == mistake[0]
    assert problem.startswith(mistake[1])


def test_same_name_in_different_objects_is_no_mistake() -> None:
    entry = {"description": "d", "command": "mcpServers", "args": ["a", "a"], "env": {"mcpServers": "a"}}
    parse(json.dumps({"mcpServers": {"a": entry, "b": entry}}).encode(), "f", {})


def test_single_backslash_is_named() -> None:
    with pytest.raises(ConfigError, match=r"line 1, column \d+: a string has a single backslash; write two"):
        parse(rb'{"mcpServers": {"a": {"command": "C:\Users\x"}}}', "f", {})


@pytest.mark.parametrize("text", [r"\ud83d", r"\uDC00", r"a\ud83d\n", r"\ud83d\u0041"])
def test_lone_surrogate_is_named(text: str) -> None:
    before = rb'{"mcpServers": {"a": {"description": "\\ud83d \ud83d\ude00'
    data = before + text.encode() + b'", "command": "x"}}}'
    escape = text.removeprefix("a")[:6]
    with pytest.raises(ConfigError) as raised:
        parse(data, "f", {})
    place = f"line 1, column {len(before) + text.index(escape) + 1}"
    assert str(raised.value).startswith(
        f"f: {place}: {escape} is a lone surrogate, half of a character; write"
    )


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
    second = RemoteTransport(url, (("Authorization", Secret("Bearer s3")),), "id-/home", ("a", "b"), "http")
    third = RemoteTransport(Secret("https://${MISSING}/"))
    servers = (
        Server("one", "The first", first, Features(prompts=False), Timeouts(tools=60.0, resources=3.0)),
        Server("two", "d", second, Features(), Timeouts(start=REMOTE_START)),
        Server("three", "", third, Features(), Timeouts(start=REMOTE_START)),
        Server("four", "d", RemoteTransport(url, kind="sse"), Features(), Timeouts(start=REMOTE_START)),
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


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("httpUrl", '"https://example.com"', "unknown field 'httpUrl'; did you mean 'url'?"),
        ("transport", '"http"', "unknown field 'transport'; did you mean 'type'?"),
        ("type", '"streamable-http"', "Streamable HTTP is 'http'"),
    ],
)
def test_words_of_other_tools_are_understood_in_errors(field: str, value: str, says: str) -> None:
    text = f'{{"mcpServers": {{"a": {{"description": "d", "command": "c", "{field}": {value}}}}}}}'
    with pytest.raises(ConfigError) as raised:
        parse(text.encode(), "config.json", {})
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:3000/mcp", "ftp://a/", "http://", "/mcp", "", "http://[", "${NO}"),
        *("https://a..b/", "https://.a/", f"https://{'a' * 64}.test/"),
    ],
)
def test_url_that_is_no_address_has_a_warning(url: str) -> None:
    config = parse(json.dumps({"mcpServers": {"a": {**HTTP, "url": url}}}).encode(), "config.json", {})
    assert config.warnings[-1] == (
        "mcpServers.a.url is not an address of http or https; write it as in https://host/path"
    )


def test_space_around_a_url_does_not_count() -> None:
    entry = {**HTTP, "url": " ${URL} "}
    config = parse(
        json.dumps({"mcpServers": {"a": entry}}).encode(), "config.json", {"URL": "https://example.com/\n"}
    )
    assert not config.warnings
    transport = config.servers[0].transport
    assert isinstance(transport, RemoteTransport)
    assert transport.url.reveal() == "https://example.com/"


@pytest.mark.parametrize("transport", [STDIO, HTTP], ids=["command", "url"])
def test_null_is_as_if_the_member_was_left_out(transport: dict[str, object]) -> None:
    names = ("args", "env", "headers", "enabled", "shared", "features", "timeout", "cwd")
    lists = ("oauth_scopes", "oauth_private_hosts", "oauth_at_start")
    nulls = {name: None for name in (*names, *lists) if name not in transport}
    plain, with_nulls = (configuration_with({**transport, **more}).encode() for more in ({}, nulls))
    assert parse(with_nulls, "f", {}) == parse(plain, "f", {})
