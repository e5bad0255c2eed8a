import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client

from mock_servers.answers import MODERN_VERSION
from mock_servers.script import Era, Http, Script, default_tools, tool

from .remote_driver import META, Remote, json_of, remote

Mode = Literal["auto", "legacy", "2026-07-28"]
PLAIN, EVENTS = Http(sessions=True), Http(sessions=True, answers="sse", priming=True, retry=100)
BARE = Http(get=False)
ACCEPTED: list[tuple[Era, Mode, Http]] = [
    ("legacy", "auto", PLAIN),
    ("legacy", "legacy", EVENTS),
    ("legacy", "auto", BARE),
    ("modern", "auto", PLAIN),
    ("modern", "2026-07-28", EVENTS),
    ("both", "auto", PLAIN),
    ("both", "legacy", PLAIN),
    ("both", "2026-07-28", PLAIN),
]
MODERN = {"MCP_Protocol_Version": MODERN_VERSION}


@pytest.mark.parametrize(("era", "mode", "http"), ACCEPTED)
async def test_the_official_client_lists_and_calls(tmp_path: Path, era: Era, mode: Mode, http: Http) -> None:
    script = Script(
        era=era, tools=[*default_tools(), tool("größe")], prompts=[{"name": "p"}], http=http, page_size=2
    )
    with remote(tmp_path, "http", script) as mock, anyio.fail_after(30):
        async with Client(mock.url, mode=mode) as client:
            first = await client.list_tools()
            second = await client.list_tools(cursor=first.next_cursor)
            names = [listed.name for listed in (*first.tools, *second.tools)]
            called = await client.call_tool("größe", {"x": [1, None, "é"]})
            prompts = await client.list_prompts()
        assert names == ["echo", "add", "größe"]
        assert called.structured_content == {"arguments": {"x": [1, None, "é"]}}
        assert [prompt.name for prompt in prompts.prompts] == ["p"]
        verbs = {entry.data["method"] for entry in mock.events("http-request")}
    handshake = era == "legacy" or mode == "legacy"
    assert ("DELETE" in verbs) == (handshake and http.sessions)
    assert ("GET" in verbs) == (handshake and http.sessions)


def test_a_request_is_written_down_exactly_as_it_was_sent(tmp_path: Path) -> None:
    head = b"PUT /Mcp/%20x?a=b&a HTTP/1.1\r\nhost: h\r\nX-oDD: 1\r\nx-odd: 2\r\nContent-Length: 2\r\n\r\n"
    with remote(tmp_path, "http") as mock, mock.raw(head + b"\xff\xfe") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 404")
        (entry,) = mock.events("http-request")
        assert entry.data["target"] == "/Mcp/%20x?a=b&a"
        assert entry.data["headers"] == [
            ["host", "h"],
            ["X-oDD", "1"],
            ["x-odd", "2"],
            ["Content-Length", "2"],
        ]
        assert (entry.data["base64"], entry.data["method"]) == ("//4=", "PUT")
        connection.close()
        mock.wait_for("disconnect", connection=entry.data["connection"])


def test_it_ends_with_its_input(tmp_path: Path) -> None:
    with remote(tmp_path, "http") as mock:
        stream = mock.request("GET")
        assert mock.process.stdin
        mock.process.stdin.close()
        assert mock.process.wait(5) == 0
        assert mock.events("exit")[0].data["reason"] == "eof"
        stream.close()


def test_sigterm_ends_it(tmp_path: Path) -> None:
    with remote(tmp_path, "http") as mock:
        mock.process.send_signal(signal.SIGTERM)
        assert mock.process.wait(5) == 128 + signal.SIGTERM
        assert mock.events("signal")


class TestSessions:
    def test_are_assigned_and_required(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(http=PLAIN)) as mock:
            assert mock.post("tools/list").status == 400
            assert mock.post("tools/list", Mcp_Session_Id="unknown").status == 404
            assert mock.post("tools/list", Mcp_Session_Id="shared").status == 404
            mock.handshake()
            assert [t["name"] for t in json_of(mock.post("tools/list"))["result"]["tools"]] == ["echo", "add"]

    def test_expire_after_their_requests(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(http=Http(sessions=True, session_requests=2))) as mock:
            mock.handshake()
            assert [mock.post("tools/list").status for _ in range(3)] == [200, 404, 404]
            mock.handshake()
            assert mock.post("tools/list").status == 200

    @pytest.mark.parametrize(("status", "after"), [(200, 404), (405, 200)])
    def test_are_ended_with_delete(self, tmp_path: Path, status: int, after: int) -> None:
        with remote(tmp_path, "http", Script(http=Http(sessions=True, delete=status))) as mock:
            assert mock.request("DELETE").status == 400
            mock.handshake()
            assert mock.request("DELETE").status == status
            assert mock.post("tools/list").status == after

    def test_a_delete_may_never_be_answered(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(http=Http(sessions=True, delete=None))) as mock:
            mock.handshake()
            session = mock.session["Mcp-Session-Id"].encode()
            with mock.raw(
                b"DELETE /mcp HTTP/1.1\r\nHost: h\r\nMcp-Session-Id: " + session + b"\r\n\r\n"
            ) as end:
                mock.wait_for("http-request", method="DELETE")
                end.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    end.recv(1)
            mock.wait_for("http-end", by="client")

    def test_strict_servers_refuse_what_comes_before_initialized(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(strict=True, http=Http(sessions=True, accepted=204))) as mock:
            greeting = mock.post("initialize", {"protocolVersion": "2025-11-25"})
            mock.session = {"Mcp-Session-Id": greeting.headers["Mcp-Session-Id"]}
            assert mock.post("tools/list").status == 400
            assert mock.post("notifications/initialized", id=None).status == 204
            assert mock.post("tools/list").status == 200


def test_a_missing_header_is_401_on_every_verb(tmp_path: Path) -> None:
    script = Script(http=Http(required_headers={"Authorization": "Bearer x"}))
    with remote(tmp_path, "http", script) as mock:
        assert [mock.request(verb).status for verb in ("GET", "DELETE", "POST")] == [401] * 3
        assert mock.post("ping", Authorization="Bearer x").status == 200


@pytest.mark.parametrize("body", [b"{nonsense", b"[]", b'{"jsonrpc":"2.0","id":7}'])
def test_what_is_no_message_is_refused(tmp_path: Path, body: bytes) -> None:
    with remote(tmp_path, "http") as mock:
        response = mock.request("POST", body=body)
        assert response.status == 400
        assert json_of(response)["error"]["code"] in (-32700, -32600)


def test_other_paths_and_verbs_are_not_served(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(http=Http(get=False))) as mock:
        assert mock.request("POST", "/other").status == 404
        assert [mock.request(verb).status for verb in ("PUT", "GET", "DELETE")] == [405] * 3


class TestTheModernEra:
    def ask(
        self, mock: Remote, method: str, params: Mapping[str, object], **headers: str
    ) -> tuple[int, int | None]:
        told = {**MODERN, "Mcp_Method": method, **headers}
        response = mock.post(method, {**params, "_meta": META}, 1, **told)
        return response.status, json_of(response).get("error", {}).get("code")

    def test_headers_must_say_what_the_body_says(self, tmp_path: Path) -> None:
        call = {"name": "größe", "arguments": {}}
        with remote(tmp_path, "http", Script(era="modern", tools=[tool("größe")])) as mock:
            assert self.ask(mock, "server/discover", {}) == (200, None)
            assert self.ask(mock, "server/discover", {}, Mcp_Method="tools/list") == (400, -32020)
            assert self.ask(mock, "server/discover", {}, MCP_Protocol_Version="2025-11-25") == (400, -32020)
            assert self.ask(mock, "tools/call", call) == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="gr=C3=B6=C3=9Fe") == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="=?base64?!?=") == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="=?base64?Z3LDtsOfZQ==?=") == (200, None)

    def test_errors_have_a_status_and_there_are_no_sessions(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(era="modern")) as mock:
            assert self.ask(mock, "nonsense", {}) == (404, -32601)
            refused = mock.post("initialize", {"protocolVersion": "2025-11-25"})
            assert (refused.status, json_of(refused)["error"]["code"]) == (400, -32022)
            assert [mock.request(verb).status for verb in ("GET", "DELETE")] == [405, 405]
            discovered = mock.post(
                "server/discover",
                {"_meta": META},
                Mcp_Method="server/discover",
                MCP_Protocol_Version=MODERN_VERSION,
            )
            assert "Mcp-Session-Id" not in discovered.headers


def test_a_used_port_can_be_chosen_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        with remote(folder, "http", None, "--port", str(port)) as mock:
            assert mock.url == f"http://127.0.0.1:{port}/mcp"
            mock.handshake()


def test_a_collector_answers_everything_and_writes_it_down(tmp_path: Path) -> None:
    with remote(tmp_path, "collector") as mock:
        assert [mock.request(verb, "/any/where?x=1").status for verb in ("GET", "POST", "PATCH")] == [204] * 3
        assert [entry.data["target"] for entry in mock.events("http-request")] == ["/any/where?x=1"] * 3
