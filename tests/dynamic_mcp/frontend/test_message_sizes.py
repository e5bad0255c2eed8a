"""A message that is larger than the client takes does not reach it: results become errors, and lists have pages."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import MAX_LINE, ClientSession
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.jsonrpc import Message, Refusal
from tests.dynamic_mcp.fakes import Client, FakeGroup, FakeUpstream, named, server

LIMIT = 20_000


class SmallClient(Client):
    """A client whose group `files` has these definitions, and sends at most ``LIMIT`` bytes at once."""

    def __init__(self, definitions: dict[str, bytes] | None = None, limit: int | None = LIMIT) -> None:
        super().__init__()
        limited = msgspec.structs.replace(server("files"), max_answer_size=limit)
        self.group = FakeGroup(limited, self.upstream, definitions)
        self.frontend = self.frontend_over(self.group)


def result_of(size: int) -> bytes:
    return json.dumps({"content": [{"type": "text", "text": "x" * size}]}).encode()


def resources(count: int) -> dict[str, bytes]:
    return {
        uri: json.dumps({"uri": uri, "name": uri, "description": "d" * 100}).encode()
        for uri in (f"x://{number}" for number in range(count))
    }


@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
async def test_a_result_that_is_too_large_is_a_failure_of_its_call(modern: bool) -> None:
    client = SmallClient()
    client.upstream.answer = result_of(LIMIT)
    answer = await client.echo(modern=modern)
    text = answer["result"]["content"][0]["text"]
    assert answer["result"]["isError"] is True
    assert "'files'" in text
    assert "20,000 (max_answer_size)" in text
    assert text.endswith("The tool has run.")
    client.upstream.answer = result_of(LIMIT // 2)
    assert not (await client.echo(modern=modern))["result"].get("isError")


async def test_definitions_that_are_too_large_are_a_failure_of_their_request() -> None:
    client = SmallClient({"echo": b'{"name":"echo","description":"%b"}' % (b"d" * LIMIT)})
    answer = await client.tool(GET, {"group": "files", "name": "echo"})
    assert answer["result"]["isError"] is True
    assert answer["result"]["content"][0]["text"].endswith("Ask for less, for example for a part.")


async def test_a_resource_that_is_too_large_is_an_error() -> None:
    client = SmallClient(resources(1))
    client.upstream.answer = json.dumps({"contents": [{"uri": "x://0", "text": "x" * LIMIT}]}).encode()
    answer = await client.ask("resources/read", {"uri": "x://0"})
    assert answer["error"]["code"] == -32603
    assert "max_answer_size" in answer["error"]["message"]


@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
async def test_a_list_that_is_too_large_has_pages(modern: bool) -> None:
    client = SmallClient(resources(1000))
    found: list[str] = []
    params: dict[str, Any] = {}
    for _ in range(20):
        result = (await client.ask("resources/list", params, modern=modern))["result"]
        assert len(client.lines[-1]) <= LIMIT
        found += [entry["uri"] for entry in result["resources"]]
        if "nextCursor" not in result:
            break
        params = {"cursor": result["nextCursor"]}
    assert found == [*resources(1000)]


async def test_a_list_without_a_limit_has_one_page() -> None:
    client = SmallClient(resources(1000), None)
    result = (await client.ask("resources/list"))["result"]
    assert len(result["resources"]) == 1000
    assert "nextCursor" not in result


@pytest.mark.parametrize("limit", [None, LIMIT])
@pytest.mark.parametrize("cursor", ["", "1", "after-0", "after-x", "after--1", 5, {}], ids=repr)
async def test_a_cursor_of_another_server_is_refused(cursor: object, limit: int | None) -> None:
    client = SmallClient(resources(1000), limit)
    answer = await client.ask("resources/list", {"cursor": cursor})
    assert answer["error"]["code"] == -32602


async def test_the_page_after_the_end_of_a_shorter_list_is_empty() -> None:
    result = (await SmallClient(resources(10)).ask("resources/list", {"cursor": "after-500"}))["result"]
    assert result == {"resources": []}


async def test_a_definition_that_fits_no_page_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    definitions = resources(3)
    definitions["x://1"] = json.dumps({"uri": "x://1", "name": "d" * LIMIT}).encode()
    client = SmallClient(definitions)
    for _ in range(2):
        result = (await client.ask("resources/list"))["result"]
        assert [entry["uri"] for entry in result["resources"]] == ["x://0", "x://2"]
    text = "resources/list lacks 1 definitions that are too large for one message"
    assert [record.getMessage() for record in caplog.records] == [text]


async def test_a_log_message_that_is_too_large_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    client = SmallClient()
    await client.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
    client.send({"method": "notifications/initialized"})
    before = len(client.lines)
    with caplog.at_level(logging.WARNING):
        for size in (LIMIT, 10):
            params = Raw(json.dumps({"level": "error", "data": "x" * size}).encode())
            client.relay.on_notification(client.group, Message(method="notifications/message", params=params))
    assert [len(line) < LIMIT for line in client.lines[before:]] == [True]
    assert "messages that did not reach the client: 1" in caplog.text


async def test_a_question_that_is_too_large_is_refused() -> None:
    client = SmallClient()
    params = Raw(json.dumps({"message": "x" * LIMIT}).encode())
    with pytest.raises(Refusal, match="larger than a message to this client may be"):
        await client.relay.on_request(client.group, Message(method="elicitation/create", params=params), ())


@pytest.mark.parametrize(
    ("configured", "size", "fits"), [(None, 9_000_000, False), (10_000_000, 9_000_000, True)]
)
async def test_a_client_on_stdio_has_a_limit_that_the_configuration_can_raise(
    configured: int | None, size: int, fits: bool
) -> None:
    lines: list[bytes] = []
    upstream = FakeUpstream()
    upstream.answer = result_of(size)
    group = FakeGroup(msgspec.structs.replace(server("files"), max_answer_size=configured), upstream)
    session = ClientSession(lines.append, max_message=MAX_LINE)
    groups = named(group)
    frontend = Frontend(groups, session, Relay(session, groups), lines.append, Hooks())
    client = Client()
    client.frontend, client.lines = frontend, lines
    answer = await client.tool(CALL, {"group": "files", "name": "echo"})
    assert answer["result"].get("isError", False) is not fits
