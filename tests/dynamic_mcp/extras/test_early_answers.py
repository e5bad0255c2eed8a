"""The early answers: equal to those of the frontend, each once, and none for an invalid configuration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.config.load import parse
from dynamic_mcp.extras.early_answers import answerer_for, simple_servers
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.hooks import Hooks
from tests.dynamic_mcp.fakes import FakeGroup, named
from tests.dynamic_mcp.helpers import WITHIN
from tests.dynamic_mcp.jsontexts import json_tokens, number_texts, string_texts

ROOT = Path(__file__).resolve().parents[3]
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}'
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
LIST = b'{"jsonrpc":"2.0","id":"a","method":"tools/list"}'
PING = b'{"jsonrpc":"2.0","id":2,"method":"ping"}'

# Valid values are more likely than others, so that enough entries are simple.
_texts = st.text(max_size=6)
_durations = st.sampled_from(["1s", "9999min", "500ms", "0s", "01s", "99999999m", "1h", ""])
_flags = st.booleans()
_features = st.dictionaries(st.sampled_from(["tools", "resources", "prompts"]), _flags)
_timeouts = st.dictionaries(st.sampled_from(["tools", "resources", "prompts"]), _durations)
_others: st.SearchStrategy[Any] = st.none() | st.integers() | _texts | st.just([]) | st.just({})
_members: dict[str, st.SearchStrategy[Any]] = {
    "enabled": _flags,
    "features": _features,
    "timeout": _timeouts,
    "type": st.sampled_from(["stdio", "http", "sse", "ws"]),
    "command": _texts,
    "args": st.lists(_texts, max_size=2),
    "env": st.dictionaries(_texts, _texts, max_size=2),
    "url": _texts,
    "headers": st.dictionaries(_texts, _texts, max_size=2),
    "oauth_client_id": _texts,
    "oauth_scopes": st.lists(_texts, max_size=2),
    "security": st.just({}),
    "unknown": _others,
}
_right = st.fixed_dictionaries(
    {"description": _texts, "command": st.just("x")},
    optional={name: _members[name] for name in ("enabled", "features", "timeout", "args", "env")},
) | st.fixed_dictionaries(
    {"description": _texts, "url": st.just("http://x/")},
    optional={name: _members[name] for name in ("enabled", "features", "type", "headers", "oauth_scopes")},
)
_any = st.dictionaries(
    st.sampled_from(["description", *_members]), st.one_of(_others, *_members.values()), max_size=6
)
_configurations = st.builds(
    lambda servers, beside, ascii: json.dumps({"mcpServers": servers, **beside}, ensure_ascii=ascii),
    st.dictionaries(_texts, _right, min_size=1, max_size=3)
    | st.dictionaries(_texts, _right | _any, max_size=3),
    st.sampled_from([{}, {}, {"$schema": "x"}, {"$schema": None}, {"security": {}}, {"more": 1}]),
    st.booleans(),
)
#: messages with missing or duplicate members, or with members in another spelling
_lines = st.lists(
    st.sampled_from(['"jsonrpc":"2.0"', '"method":"tools/list"', '"params":{}', '"id":-0', '"id":1']),
    max_size=5,
).map(lambda members: "{" + ",".join(members) + "}")
_messages = st.builds(
    lambda id, rest: f'{{"jsonrpc":"2.0",{rest},"id":{id}}}',
    number_texts | string_texts | st.just("null"),
    st.sampled_from(
        [
            '"method":"tools/list"',
            '"method":"tools/list","params":{}',
            '"method":"tools/list","params":{"cursor":"x"}',
            '"method":"tools/list","params":[]',
            '"method":"notifications/initialized"',
            '"method":"ping"',
        ]
    )
    | st.builds(
        lambda version, capabilities, more: (
            f'"method":"initialize","params":{{"protocolVersion":{version},{more}"capabilities":{capabilities}}}'
        ),
        st.sampled_from(['"2024-11-05"', '"2025-11-25"', '"1999-01-01"', "1", "null"]),
        st.just("{}") | json_tokens.map("".join),
        st.sampled_from(["", '"_meta":{},', '"clientInfo":{"name":"x"},']),
    ),
)


def frontend_over(content: bytes) -> tuple[Frontend, list[bytes]]:
    """A frontend with the servers of a configuration, and its lines for the client."""
    lines: list[bytes] = []
    session = ClientSession(lines.append)
    groups = named(*(FakeGroup(server) for server in parse(content, "c", {}).servers))
    return Frontend(groups, session, Relay(session, groups), lines.append, Hooks()), lines


@given(_configurations, st.lists(_messages | _lines, max_size=3))
async def test_early_answers_equal_those_of_the_frontend(text: str, messages: list[str]) -> None:
    content = text.encode(errors="surrogatepass")
    servers = simple_servers(content)
    if servers is None:
        return
    answer = answerer_for(servers)
    for message in [INITIALIZE.decode(), LIST.decode(), *messages]:
        frontend, lines = frontend_over(content)
        found = answer(message.encode())
        if found is not None:
            frontend.router.receive(message.encode())
            assert b"".join(lines) == found


@pytest.mark.parametrize(
    "entry",
    [
        {"description": "d", "command": "x"},
        {"description": "d", "command": "x", "args": ["${HOME}"], "env": {"A": "b"}, "type": "stdio"},
        {
            "description": "d",
            "url": "https://x/",
            "headers": {"A": "b"},
            "type": "sse",
            "oauth_scopes": ["a"],
        },
        {"description": "d", "command": "x", "features": {"tools": False}, "timeout": {"tools": "1min"}},
        {"description": "d", "command": "x", "tools": {"allow": [], "deny": ["a*"]}},
    ],
)
def test_ordinary_configuration_has_early_answers(entry: dict[str, Any]) -> None:
    assert simple_servers(json.dumps({"mcpServers": {"a": entry}}).encode()) == {"a": entry}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"mcpServers": []}',
        '{"mcpServers": {"a": {"description": "d"}}}',
        '{"mcpServers": {"a": {"command": "x"}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "url": "y"}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "typo": 1}}}',
        '{"mcpServers": {"": {"description": "d", "command": "x"}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "command": "y"}}}',
        '{"mcpServers": {"a": {"description": "\\ud800", "command": "x"}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "security": {}}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "tools": {"deny": [" "]}}}}',
        '{"mcpServers": {"a": {"description": "d", "command": "x", "tools": {"deny": "a"}}}}',
        '{"mcpServers": {}, "security": {}}',
    ],
)
def test_invalid_or_rare_configuration_has_no_early_answers(text: str) -> None:
    assert simple_servers(text.encode()) is None


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text('{"mcpServers": {"a": {"description": "d", "command": "false"}}}')
    return path


@contextmanager
def running_proxy(config: Path, *modules: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running proxy that searches these folders first for modules."""
    search_path = os.pathsep.join(map(str, [*modules, ROOT]))
    environment = {**os.environ, "PYTHONPATH": search_path, "DYNAMIC_MCP_LOG": "off"}
    command = [sys.executable, "-m", "dynamic_mcp", str(config)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[bytes], *lines: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(line + b"\n" for line in lines))
    process.stdin.flush()


def receive(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    message = json.loads(process.stdout.readline())
    assert isinstance(message, dict)
    return message


@pytest.fixture
def endless_import(tmp_path: Path) -> Path:
    """A folder with a `msgspec` whose import does not end."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "msgspec.py").write_text("import time\ntime.sleep(3600)\n")
    return folder


@pytest.mark.slow
def test_early_answers_do_not_wait_for_imports(config: Path, endless_import: Path) -> None:
    with running_proxy(config, endless_import) as process:
        send(process, INITIALIZE, INITIALIZED, LIST)
        assert receive(process)["result"]["serverInfo"]["name"] == "dynamic-mcp"
        assert [tool["name"] for tool in receive(process)["result"]["tools"]] == [
            "get_dynamic_tools",
            "call_dynamic_tool",
        ]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_during_the_imports_ends_the_proxy(
    config: Path, endless_import: Path, number: int, status: int
) -> None:
    with running_proxy(config, endless_import) as process:
        send(process, INITIALIZE)
        receive(process)
        process.send_signal(number)
        assert process.wait(WITHIN) == status
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize("plain", [True, False])
def test_each_request_is_answered_once_and_in_order(config: Path, plain: bool) -> None:
    if not plain:
        config.write_text(config.read_text().replace('"mcpServers"', '"security": {}, "mcpServers"'))
    with running_proxy(config) as process:
        send(process, INITIALIZE, INITIALIZED, LIST, PING, LIST.replace(b'"a"', b'"b"'))
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        found = [json.loads(line)["id"] for line in process.stdout]
        assert found == [0, "a", 2, "b"]
        assert process.wait(WITHIN) == 0


@pytest.mark.slow
def test_proxy_knows_a_client_with_early_answers(config: Path) -> None:
    with running_proxy(config) as process:
        send(process, INITIALIZE, INITIALIZED, LIST)
        assert receive(process)["id"] == 0
        assert receive(process)["id"] == "a"
        config.write_text(config.read_text().replace('"a"', '"other"'))
        # The proxy notifies only a client that has done the handshake.
        assert receive(process)["method"] == "notifications/tools/list_changed"
