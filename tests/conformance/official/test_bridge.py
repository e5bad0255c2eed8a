"""The bridge makes a stdio server reachable by URL, in both eras."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import httpx
import pytest

from conformance.official.bridge import SESSION, serving
from mock_servers.answers import CAPABILITIES_KEY, MODERN_VERSION, VERSION_KEY

# any stdio server can stand in for a proxy
#: seconds, more than a busy machine needs
WITHIN = 30.0
MOCK = (sys.executable, "-m", "mock_servers", "stdio", "--everything")
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
META = {VERSION_KEY: MODERN_VERSION, CAPABILITIES_KEY: {}}

NOTE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hello"}}

# answers every request with its own parameters, after the message in `first`
ECHO = (
    sys.executable,
    "-c",
    """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "first" in asked["params"]:
        print(json.dumps(asked["params"]["first"]))
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": asked["params"]}), flush=True)
""",
)


def request(method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}


def modern(method: str) -> dict[str, str]:
    return {"MCP-Protocol-Version": MODERN_VERSION, "Mcp-Method": method}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


async def test_a_legacy_session_has_a_process_from_initialize_to_delete() -> None:
    with anyio.fail_after(WITHIN):
        async with serving(MOCK, "group") as url, httpx.AsyncClient(timeout=WITHIN) as http:
            hello = await http.post(url, json=request("initialize", HELLO))
            session = {SESSION: hello.headers[SESSION]}
            pong = await http.post(url, json=request("ping"), headers=session)
            ended = await http.delete(url, headers=session)
            late = await http.post(url, json=request("ping"), headers=session)
            bare = await http.post(url, json=request("ping"))

    assert hello.json()["result"]["serverInfo"]["name"] == "everything"
    assert pong.json() == {"jsonrpc": "2.0", "id": 7, "result": {}}
    assert [ended.status_code, late.status_code, bare.status_code] == [200, 404, 400]


async def test_a_message_before_an_answer_makes_a_stream() -> None:
    with anyio.fail_after(WITHIN):
        async with serving(ECHO, "group") as url, httpx.AsyncClient(timeout=WITHIN) as http:
            hello = await http.post(url, json=request("initialize", {"first": NOTE}))

    assert [message.get("method") for message in events(hello)] == ["notifications/message", None]
    assert hello.headers[SESSION]


async def test_a_tool_call_goes_through_call_dynamic_tool() -> None:
    call = request("tools/call", {"name": "test_simple_text", "arguments": {"x": 1}})
    with anyio.fail_after(WITHIN):
        async with serving(ECHO, "group") as url, httpx.AsyncClient(timeout=WITHIN) as http:
            response = await http.post(
                url,
                json={**call, "params": {**call["params"], "_meta": META}},
                headers={**modern("tools/call"), "Mcp-Name": "test_simple_text"},
            )

    params = response.json()["result"]
    assert params["name"] == "call_dynamic_tool"
    assert params["arguments"] == {"group": "group", "name": "test_simple_text", "args": {"x": 1}}


@pytest.mark.parametrize(
    ("method", "meta", "headers", "status", "code"),
    [
        ("server/discover", META, modern("server/discover"), 200, None),
        ("server/discover", {}, modern("server/discover"), 400, -32602),
        ("server/discover", META, modern("tools/list"), 400, -32020),
        ("nonsense", META, modern("nonsense"), 404, -32601),
    ],
)
async def test_a_modern_request_needs_an_envelope_and_its_headers(
    method: str, meta: dict[str, Any], headers: dict[str, str], status: int, code: int | None
) -> None:
    with anyio.fail_after(WITHIN):
        async with serving(MOCK, "group") as url, httpx.AsyncClient(timeout=WITHIN) as http:
            response = await http.post(url, json=request(method, {"_meta": meta}), headers=headers)

    assert (response.status_code, response.json().get("error", {}).get("code")) == (status, code)


async def test_an_ended_server_is_a_bad_gateway_and_another_host_is_forbidden() -> None:
    with anyio.fail_after(WITHIN):
        async with (
            serving((sys.executable, "-c", "pass"), "group") as url,
            httpx.AsyncClient(timeout=WITHIN) as http,
        ):
            gone = await http.post(url, json=request("initialize", HELLO))
            elsewhere = await http.post(
                url, json=request("initialize", HELLO), headers={"Host": "evil.example"}
            )

    assert [gone.status_code, elsewhere.status_code] == [502, 403]
