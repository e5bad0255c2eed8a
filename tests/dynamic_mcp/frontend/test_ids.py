"""The ids of the client and those of the proxy's own questions are separate, also in messages that are malformed or too large."""

from __future__ import annotations

import asyncio
import json

import pytest

from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.protocol.lines import EDGE
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.fakes import Client, FakeUpstream
from tests.dynamic_mcp.helpers import eventually

#: Answers of a client that are no messages.
MALFORMED = [
    b'{"jsonrpc":"2.0","id":%d}',
    b'{"id":%d,"result":{}}',
    b'{"jsonrpc":"2.0","id":%d,"error":null}',
    b'{"jsonrpc":"2.0","id":%d,"result":{',
]


async def client_with_a_call(id: int) -> Client:
    """A client whose request with this id is in flight."""
    upstream = FakeUpstream()
    upstream.answer = None
    client = Client(upstream)
    await client.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
    call = {"name": "call_dynamic_tool", "arguments": {"group": "files", "name": "echo"}}
    client.send({"id": id, "method": "tools/call", "params": call})
    await eventually(lambda: upstream.requests, "the call is in flight")
    client.lines.clear()
    return client


async def question_of(client: Client, timeout: float = 5.0) -> asyncio.Task[bytes]:
    """A question of the proxy to the client; its id is 1."""
    asking = client.session.client_peer.request("roots/list", b"{}", Options(timeout))
    task = asyncio.ensure_future(asking)
    await eventually(lambda: client.lines, "the question")
    assert json.loads(client.lines.pop(0))["id"] == 1
    return task


@pytest.mark.parametrize("line", MALFORMED)
async def test_a_late_malformed_answer_concerns_no_request_of_the_client(line: bytes) -> None:
    client = await client_with_a_call(1)
    question = await question_of(client, 0.01)
    with pytest.raises(UpstreamError):
        await question
    client.lines.clear()
    client.send(line % 1)
    assert not [one for one in map(json.loads, client.lines) if one.get("id") == 1]


@pytest.mark.parametrize("line", [*MALFORMED, b'{"jsonrpc":"1.0","id":%d,"method":"ping"}'])
async def test_an_error_about_a_malformed_message_never_ends_a_request_in_flight(line: bytes) -> None:
    client = await client_with_a_call(7)
    client.send(line % 7)
    (answer,) = map(json.loads, client.lines)
    assert (answer["id"], "error" in answer) == (None, True)


@pytest.mark.parametrize("rest", [b'"result":{"roots":"', b'"error":{"message":"'])
@pytest.mark.parametrize("is_id_first", [True, False])
async def test_an_oversized_answer_fails_its_question_and_no_request(rest: bytes, is_id_first: bool) -> None:
    client = await client_with_a_call(1)
    question = await question_of(client)
    end = b'"}}' if is_id_first else b'"},"id":1}'
    begin = b'{"jsonrpc":"2.0",%b%b' % (b'"id":1,' if is_id_first else b"", rest)
    client.frontend.router.receive_oversized(begin.ljust(EDGE, b"x"), False)
    client.frontend.router.receive_oversized(end.rjust(EDGE, b"x"), True)
    with pytest.raises(UpstreamError, match="larger than"):
        await question
    assert not client.lines


async def test_an_oversized_request_is_refused_after_an_oversized_answer() -> None:
    client = await client_with_a_call(7)
    for begin in (b'{"jsonrpc":"2.0","id":1,"result":{"', b'{"jsonrpc":"2.0","id":8,"method":"'):
        client.frontend.router.receive_oversized(begin.ljust(EDGE, b"x"), False)
        client.frontend.router.receive_oversized(b'"}}'.rjust(EDGE, b"x"), True)
    (answer,) = map(json.loads, client.lines)
    assert answer["id"] == 8


async def test_an_oversized_message_without_a_readable_id_is_refused_once() -> None:
    client = await client_with_a_call(7)
    client.frontend.router.receive_oversized(b'{"jsonrpc":"2.0","method":"'.ljust(EDGE, b"x"), False)
    client.frontend.router.receive_oversized(b'"}}'.rjust(EDGE, b"x"), True)
    (answer,) = map(json.loads, client.lines)
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
