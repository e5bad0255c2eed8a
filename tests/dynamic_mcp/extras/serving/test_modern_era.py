"""Requests of 2026-07-28 over HTTP: their headers, statuses, streams and ends."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from dynamic_mcp.config.model import Config
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.protocol.era import MODERN
from tests.dynamic_mcp.extras.serving.door import Http, modern, modern_call, notification, request, serving
from tests.dynamic_mcp.frontend.test_clients import server
from tests.dynamic_mcp.helpers import eventually


async def post(http: Http, pair: tuple[dict[str, object], dict[str, str]], **headers: str) -> httpx.Response:
    """Post a message with its headers, and with these in their place."""
    message, own = pair
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post(message, {name: value for name, value in {**own, **changed}.items() if value})


async def test_two_requests_with_the_same_id_are_no_conflict() -> None:
    async with serving() as http:
        posting = [asyncio.ensure_future(post(http, modern_call())) for _ in range(2)]
        for number, sent in enumerate(await http.proxy.calls(2)):
            http.proxy.servers[0].answer(sent, {"content": [], "n": number})
        answers = [(await one).json() for one in posting]
        assert len(http.proxy.servers) == 1
    assert [answer["id"] for answer in answers] == [1, 1]
    assert sorted(answer["result"]["n"] for answer in answers) == [0, 1]


async def test_client_that_takes_one_form_gets_it_but_an_error_keeps_its_status() -> None:
    async with serving(limits=ServingLimits(patience=0.01)) as http:
        posting = asyncio.ensure_future(post(http, modern_call(), Accept="application/json"))
        (sent,) = await http.proxy.calls(1)
        await asyncio.sleep(0.05)
        http.proxy.servers[0].answer(sent, {"content": []})
        late = await posting
        listening = await post(http, modern("subscriptions/listen"), Accept="application/json")
        listed = await post(http, modern("tools/list"), Accept="text/event-stream")
        unknown = await post(http, modern("unknown"), Accept="text/event-stream")
    assert late.json()["result"]["content"] == []
    assert (listening.status_code, listening.json()["id"]) == (406, 1)
    assert (listed.status_code, listed.headers["content-type"]) == (200, "text/event-stream")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, -32601)


def _encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    ("headers", "is_good"),
    [
        ({}, True),
        ({"Mcp_Name": _encoded("call_dynamic_tool")}, True),
        ({"Mcp_Name": "=?base64?Y2FsbA?="}, False),
        ({"Mcp_Name": "=?base64?Y2Fs!!!b=?="}, False),
        ({"Mcp_Name": "other"}, False),
        ({"Mcp_Name": ""}, False),
        ({"Mcp_Method": ""}, False),
        ({"Mcp_Method": "TOOLS/CALL"}, False),
        ({"Mcp_Method": "tools/list"}, False),
        ({"MCP_Protocol_Version": "2025-11-25"}, False),
        ({"MCP_Protocol_Version": ""}, False),
    ],
)
async def test_headers_must_match_the_message(headers: dict[str, str], is_good: bool) -> None:
    async with serving() as http:
        posting = asyncio.ensure_future(post(http, modern_call(id="x"), **headers))
        if is_good:
            (sent,) = await http.proxy.calls(1)
            http.proxy.servers[0].answer(sent, {"content": []})
        answer = await posting
    assert answer.json()["id"] == "x"
    if is_good:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_header_that_comes_twice_is_a_mismatch() -> None:
    message, headers = modern("tools/list")
    twice = [*headers.items(), ("Mcp-Method", "tools/list")]
    async with serving() as http:
        answer = await http.client.post(http.url, json=message, headers=[*twice, ("Accept", "*/*")])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize(
    ("message", "headers", "status", "code"),
    [
        (*modern("server/discover"), 200, None),
        (*modern("nonsense"), 404, -32601),
        (*modern("tools/call", {"name": "nonsense", "arguments": {}}), 400, -32602),
        (request("tools/list"), {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}, 400, -32602),
        ([request("tools/list")], {"MCP-Protocol-Version": MODERN}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, {"MCP-Protocol-Version": MODERN}, 400, -32600),
    ],
)
async def test_status_fits_to_the_error(
    message: Any, headers: dict[str, str], status: int, code: int | None
) -> None:
    async with serving() as http:
        answer = await http.post(message, headers)
    assert (answer.status_code, answer.json().get("error", {}).get("code")) == (status, code)


async def test_unknown_version_is_refused_with_the_known_ones() -> None:
    message, headers = modern(
        "tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}}
    )
    async with serving() as http:
        answer = await http.post(message, {**headers, "MCP-Protocol-Version": "2099-01-01"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32022
    assert MODERN in answer.json()["error"]["data"]["supported"]


async def test_there_are_no_sessions() -> None:
    async with serving() as http:
        session = await http.session()
        version = {"MCP-Protocol-Version": MODERN}
        statuses = [
            (await http.client.request(method, http.url, headers={**session, **version})).status_code
            for method in ("GET", "DELETE")
        ]
        message, headers = modern("tools/list")
        answer = await http.post(message, {**headers, "Mcp-Session-Id": "made-up"})
        note = notification("notifications/cancelled", {"requestId": 1})
        accepted = await http.post(note, {**version, "Mcp-Method": "notifications/cancelled"})
        refused = await http.post(note, version)
    assert statuses == [405, 405]
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers
    assert [accepted.status_code, refused.status_code] == [202, 400]


async def test_closed_connection_cancels_the_call() -> None:
    async with serving() as http:
        with pytest.raises(httpx.ReadTimeout):
            message, headers = modern_call()
            await http.post(message, headers, timeout=0.2)
        (shared,) = http.proxy.servers
        await eventually(lambda: shared.requests("notifications/cancelled"), "a cancellation")
        await eventually(lambda: not http.proxy.clients.open_clients, "the end of the client")


async def test_closed_stream_cancels_only_its_call() -> None:
    async with serving(limits=ServingLimits(patience=0.01)) as http:
        message, headers = modern_call(id=7)
        async with http.stream("POST", message, headers) as other:
            await http.proxy.calls(1)
            async with http.stream("POST", message, headers):
                first, second = await http.proxy.calls(2)
            (shared,) = http.proxy.servers
            (cancelled,) = await eventually(lambda: shared.requests("notifications/cancelled"), "one")
            shared.answer(first, {"content": []})
            assert (await other.next())["id"] == 7
            assert "id:" not in other.last_id
    assert cancelled["params"]["requestId"] == second["id"]


async def test_listener_hears_of_changes_until_the_proxy_ends() -> None:
    wanted = {"notifications": {"toolsListChanged": True, "resourcesListChanged": True}}
    message, headers = modern("subscriptions/listen", wanted, id="l")
    async with serving() as http, http.stream("POST", message, headers) as events:
        assert (await events.next())["method"] == "notifications/subscriptions/acknowledged"
        http.proxy.apply(Config((server("a"), server("b"))))
        change = await events.next()
        await http.door.close()
        last = await events.next()
        while "method" in last:
            last = await events.next()
    assert change["method"].endswith("list_changed")
    assert change["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "l"
    assert last["id"] == "l"


async def test_server_for_one_client_needs_a_session() -> None:
    async with serving(server("a", shared=False)) as http:
        answer = await post(http, modern("server/discover"))
        session = await http.session()
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32022
    assert "2025-11-25" in answer.json()["error"]["data"]["supported"]
    assert session
