"""The frontend answers each request once, with its own id and in its own era, and no notification."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.protocol import era, versions
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.fakes import REQUEST_META, Client
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.jsontexts import number_texts, string_texts

METHODS = ["ping", "initialize", "tools/list", "tools/call", "server/discover", "nonsense"]

CAPABILITIES: dict[str, object] = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
}


@given(number_texts | string_texts | st.just("1" * 5000), st.sampled_from(METHODS), st.booleans())
@settings(max_examples=150, deadline=None)
async def test_answer_repeats_the_spelling_of_the_id(id: str, method: str, modern: bool) -> None:
    client = Client()
    params = {
        "name": CALL,
        "arguments": {"group": "files", "name": "echo"},
        **({"_meta": REQUEST_META} if modern else {}),
    }
    client.send(f'{{"id":{id},"params":{json.dumps(params)},"jsonrpc":"2.0","method":"{method}"}}'.encode())
    await eventually(lambda: client.lines, "an answer")
    (line,) = client.lines
    assert line.startswith(f'{{"jsonrpc":"2.0","id":{id},"'.encode())
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


LINES = [
    '{"jsonrpc":"2.0","id":%d,"method":"ping"}',
    '{"jsonrpc":"2.0","id":%d,"method":"tools/list","params":{}}',
    '{"jsonrpc":"2.0","id":%d,"method":"nonsense"}',
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"get_dynamic_tools","arguments":{"group":"files"}}}',
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"nonsense"}}',
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":5}',
    '{"jsonrpc":"2.0","id":%d,"method":"tools/call"}',
    '{"jsonrpc":"1.0","id":%d,"method":"ping"}',
]
LINES_WITHOUT_ANSWER = [
    '{"jsonrpc":"2.0","method":"notifications/initialized"}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"%d"}}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":[%d]}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled"}',
    '{"jsonrpc":"2.0","method":"ping","params":{"n":%d}}',
    '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_dynamic_tools"}}',
    '{"jsonrpc":"2.0","id":%d,"result":{}}',
    '{"jsonrpc":"2.0","id":%d,"error":{"code":1,"message":""}}',
    '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}',
]


@given(st.lists(st.sampled_from(LINES + LINES_WITHOUT_ANSWER), max_size=15))
@settings(max_examples=100, deadline=None)
async def test_each_request_gets_one_answer_and_nothing_else_does(lines: list[str]) -> None:
    client = Client()
    for n, line in enumerate(lines):
        client.send((line % n if "%d" in line else line).encode())
    expected = [n for n, line in enumerate(lines) if line in LINES]
    await client.answers(len(expected))
    # Calls answer in their own tasks, so a surplus answer may come only now.
    await client.frontend.close()
    assert sorted(answer["id"] for answer in await client.answers(0)) == expected


@pytest.mark.parametrize(
    "line", [b"hello", b"[]", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","method":"\xff"}']
)
async def test_invalid_line_is_answered_with_a_null_id(line: bytes) -> None:
    client = Client()
    client.send(line)
    assert (await client.ask("ping"))["result"] == {}
    (problem, _) = await client.answers(2)
    assert problem["id"] is None
    assert problem["error"]["code"] in (-32700, -32600)


# Cancellation


def start_call(client: Client, id: str) -> None:
    """Start a call that the upstream does not answer."""
    client.upstream.answer = None
    arguments = json.dumps({"group": "files", "name": "echo"})
    params = f'{{"name":"{CALL}","arguments":{arguments}}}'
    client.send(f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}'.encode())


def cancel(client: Client, id: str) -> None:
    params = f'{{"requestId":{id},"reason":"enough"}}'
    client.send(f'{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}'.encode())


@pytest.mark.parametrize(
    ("id", "named"), [("1", "1"), ('"1"', '"1"'), ('"a"', r'"\u0061"'), ("1e400", "1e400")]
)
async def test_cancelled_call_is_cancelled_upstream_and_not_answered(id: str, named: str) -> None:
    client = Client()
    start_call(client, id)
    await eventually(lambda: client.upstream.requests, "the call upstream")
    cancel(client, named)
    await eventually(lambda: client.upstream.cancelled, "the end of the call upstream")
    assert (await client.ask("ping"))["result"] == {}
    assert len(client.lines) == 1


async def test_call_cancelled_before_its_start_never_starts() -> None:
    client = Client()
    start_call(client, "1")
    cancel(client, "1")
    start_call(client, "1")  # the id is free again
    await eventually(lambda: client.upstream.requests, "the second call upstream")
    assert (await client.ask("ping"))["result"] == {}
    assert len(client.upstream.requests) == 1
    assert len(client.lines) == 1
    await client.frontend.close()


async def test_close_before_the_start_of_a_call_raises_nothing() -> None:
    client = Client()
    start_call(client, "1")
    async with asyncio.timeout(5):
        await client.frontend.close()
    assert client.upstream.requests == []
    assert client.lines == []


@pytest.mark.parametrize(
    ("id", "named"), [("1", '"1"'), ('"1"', "1"), ("1", "2"), ("1", "null"), ("1", "{}")]
)
async def test_only_the_named_call_is_cancelled(id: str, named: str) -> None:
    client = Client()
    start_call(client, id)
    await eventually(lambda: client.upstream.requests, "the call upstream")
    cancel(client, named)
    await client.ask("ping")
    assert client.upstream.cancelled == 0
    await client.frontend.close()


async def test_close_ends_every_call_without_an_answer() -> None:
    client = Client()
    for id in ("1", "2", '"1"'):
        start_call(client, id)
    await eventually(lambda: len(client.upstream.requests) == 3, "the calls upstream")
    await asyncio.wait_for(client.frontend.close(), 5)
    assert client.upstream.cancelled == 3
    assert client.lines == []


# Versions


@pytest.mark.parametrize("version", versions.LEGACY_VERSIONS)
async def test_initialize_repeats_a_known_version(version: str) -> None:
    answer = await Client().ask("initialize", {"protocolVersion": version, "capabilities": {}})
    assert answer["result"]["protocolVersion"] == version
    assert answer["result"]["capabilities"] == {**CAPABILITIES, "logging": {}}
    assert answer["result"]["serverInfo"]["name"] == "dynamic-mcp"


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": "1999-01-01"}, {"protocolVersion": 5}, []])
async def test_initialize_answers_an_unknown_version_with_the_newest_legacy_one(params: object) -> None:
    answer = await Client().ask("initialize", params)
    assert answer["result"]["protocolVersion"] == versions.LATEST_LEGACY


async def test_modern_client_needs_no_handshake() -> None:
    client = Client()
    found = (await client.ask("server/discover", modern=True))["result"]
    listed = (await client.ask("tools/list", modern=True))["result"]
    assert found["supportedVersions"] == [era.MODERN]
    assert found["capabilities"] == CAPABILITIES
    for result in (found, listed):
        assert result["resultType"] == "complete"
        assert (result["ttlMs"], result["cacheScope"]) == (0, "private")
    assert [tool["name"] for tool in listed["tools"]] == [GET, CALL]


@pytest.mark.parametrize(
    ("method", "modern"), [("ping", True), ("initialize", True), ("server/discover", False)]
)
async def test_method_of_the_other_era_is_not_found(method: str, modern: bool) -> None:
    assert (await Client().ask(method, modern=modern))["error"]["code"] == -32601


@pytest.mark.parametrize("version", ["2027-01-01", "2025-11-25", ""])
async def test_unsupported_version_is_refused_with_the_supported_ones(version: str) -> None:
    meta = {**REQUEST_META, era.PROTOCOL_VERSION: version}
    error = (await Client().ask("tools/list", {"_meta": meta}))["error"]
    assert error["code"] == era.UNSUPPORTED_VERSION
    assert error["data"] == {"supported": [era.MODERN], "requested": version}


@pytest.mark.parametrize("capabilities", [None, [], "x", 1])
async def test_modern_request_needs_client_capabilities(capabilities: object) -> None:
    meta = {**REQUEST_META, era.CLIENT_CAPABILITIES: capabilities}
    error = (await Client().ask("tools/list", {"_meta": meta}))["error"]
    assert error["code"] == -32602
    assert era.CLIENT_CAPABILITIES in error["message"]


async def test_malformed_answer_of_the_client_is_not_answered() -> None:
    client = Client()
    asked = asyncio.create_task(client.session.client_peer.request("roots/list", b"{}", Options(5.0)))
    await eventually(lambda: client.lines, "the request to the client")
    client.send(b'{"jsonrpc":"2.0","id":1}')
    with pytest.raises(UpstreamFailed, match="malformed"):
        await asked
    assert len(client.lines) == 1
    # No request of the proxy has this id: the line is an invalid message like any other.
    client.send(b'{"jsonrpc":"2.0","id":77}')
    assert json.loads(client.lines[1])["error"]["code"] == -32600
