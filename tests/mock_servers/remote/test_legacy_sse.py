import json
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from mock_servers.actions import silence, sleep
from mock_servers.remote_actions import close_streams, endpoint, respond, stream
from mock_servers.script import Http, Rule, Script, on_call

from .driver import RemoteMockDriver, Response, event_of, remote


def open_stream(mock: RemoteMockDriver) -> tuple[Response, str]:
    """Open a stream; return its response and its endpoint."""
    listening = mock.request("GET", "/mcp")
    found = event_of(listening)
    assert found["event"] == "endpoint"
    return listening, found["data"]


def ping(mock: RemoteMockDriver, target: str, id: int = 1) -> Response:
    return mock.request("POST", target, {"jsonrpc": "2.0", "id": id, "method": "ping"})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("uri", ["/messages?sid=$sid", "messages?sid=$sid", "$origin/m?sid=$sid"])
async def test_official_client_lists_and_calls(
    tmp_path: Path, mode: Literal["auto", "legacy"], uri: str
) -> None:
    with (
        remote(tmp_path, "sse", Script(http=Http(path="/base/sse", endpoint=uri))) as mock,
        anyio.fail_after(30),
    ):
        async with Client(sse_client(mock.url), mode=mode) as client:
            assert [listed.name for listed in (await client.list_tools()).tools] == ["echo", "add"]
            called = await client.call_tool("echo", {"x": "é"})
        assert called.structured_content == {"arguments": {"x": "é"}}
        mock.wait_for("http-end", by="client", n=1)


def test_stream_carries_answers_and_posts_are_accepted(tmp_path: Path) -> None:
    with remote(tmp_path, "sse") as mock:
        listening, target = open_stream(mock)
        accepted = ping(mock, target, 7)
        assert (accepted.status, accepted.read()) == (202, b"Accepted")
        assert json.loads(event_of(listening)["data"]) == {"jsonrpc": "2.0", "id": 7, "result": {}}


def test_endpoint_ends_with_its_stream(tmp_path: Path) -> None:
    with remote(tmp_path, "sse") as mock:
        first, target = open_stream(mock)
        second, other = open_stream(mock)
        assert target != other
        ping(mock, target, 1)
        ping(mock, other, 2)
        assert json.loads(event_of(first)["data"])["id"] == 1
        assert json.loads(event_of(second)["data"])["id"] == 2
        mock.close()
        mock.wait_for("http-end", by="client", n=1)
        assert ping(mock, target).status == 404


@pytest.mark.parametrize("status", [405, 404])
def test_post_to_the_stream_is_refused(tmp_path: Path, status: int) -> None:
    with remote(tmp_path, "sse", Script(http=Http(stream_post=status))) as mock:
        assert ping(mock, "/mcp").status == status
        assert mock.request("DELETE").status == 405
        assert ping(mock, "/messages?sid=none").status == 404


def test_rule_can_answer_the_post_itself(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(on=[Rule("ping", [respond(500, "no")], nth=1)])) as mock:
        listening, target = open_stream(mock)
        assert ping(mock, target, 1).status == 500
        assert ping(mock, target, 2).status == 202
        assert json.loads(event_of(listening)["data"])["id"] == 2


def test_verb_rule_delays_or_refuses_posts(tmp_path: Path) -> None:
    rules = [Rule("POST", [sleep(0.1)], nth=1), Rule("POST", [respond(503)], nth=2)]
    with remote(tmp_path, "sse", Script(on=rules)) as mock:
        listening, target = open_stream(mock)
        assert ping(mock, target, 1).status == 202
        assert json.loads(event_of(listening)["data"])["id"] == 1
        assert [ping(mock, target, id).status for id in (2, 3)] == [503, 202]
        assert json.loads(event_of(listening)["data"])["id"] == 3


def test_look_for_metadata_uses_up_no_verb_rule(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(on=[Rule("GET", [respond(503)], nth=1)])) as mock:
        assert mock.request("GET", "/.well-known/oauth-protected-resource").status == 405
        assert [mock.request("GET", "/mcp").status for _ in range(2)] == [503, 200]


def test_endpoint_can_be_late_missing_repeated_or_foreign(tmp_path: Path) -> None:
    rules = [
        Rule("GET", [sleep(0.2)], nth=1),
        Rule("GET", [stream(": nothing\n\n")], nth=2),
        Rule("GET", [endpoint("/a?sid=$sid"), endpoint("http://127.0.0.1:9/b")], nth=3),
    ]
    with remote(tmp_path, "sse", Script(on=rules)) as mock:
        late, _ = open_stream(mock)
        assert late.status == 200
        silent = mock.request("GET")
        assert silent.readline() == b": nothing\n"
        twice, target = open_stream(mock)
        assert target.startswith("/a?sid=")
        assert event_of(twice)["data"] == "http://127.0.0.1:9/b"


def test_stream_can_break_during_a_call(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(on=[on_call("echo", close_streams(), silence())])) as mock:
        _, target = open_stream(mock)
        params = {"name": "echo"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        assert mock.request("POST", target, body).status == 202
        mock.wait_for("http-end", by="cut", n=1)
        assert ping(mock, target).status == 404


def test_missing_header_is_401(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(http=Http(required_headers={"X-A": "b"}))) as mock:
        assert mock.request("GET").status == 401
        assert mock.request("GET", X_A="b").status == 200


def test_server_with_one_transport_answers_on_the_newest_stream(tmp_path: Path) -> None:
    script = Script(http=Http(one_transport=True), on=[on_call("echo", sleep(0.5))])
    with remote(tmp_path, "sse", script) as mock:
        _, target = open_stream(mock)
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo"}}
        assert mock.request("POST", target, call).status == 202
        listening, _ = open_stream(mock)
        assert json.loads(event_of(listening)["data"])["id"] == 7
