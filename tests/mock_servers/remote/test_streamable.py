from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client

from mock_servers.answers import MODERN_VERSION
from mock_servers.script import Era, Http, Script, default_tools, tool

from .driver import META, RemoteMockDriver, json_of, remote

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
async def test_official_client_lists_and_calls(tmp_path: Path, era: Era, mode: Mode, http: Http) -> None:
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


class TestSessions:
    def test_assigned_and_required(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(http=PLAIN)) as mock:
            assert mock.post("tools/list").status == 400
            assert mock.post("tools/list", Mcp_Session_Id="unknown").status == 404
            assert mock.post("tools/list", Mcp_Session_Id="shared").status == 404
            mock.handshake()
            assert [t["name"] for t in json_of(mock.post("tools/list"))["result"]["tools"]] == ["echo", "add"]

    def test_expire_after_the_given_number_of_requests(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(http=Http(sessions=True, session_requests=2))) as mock:
            mock.handshake()
            assert [mock.post("tools/list").status for _ in range(3)] == [200, 404, 404]
            mock.handshake()
            assert mock.post("tools/list").status == 200

    @pytest.mark.parametrize(("status", "after"), [(200, 404), (405, 200)])
    def test_delete_ends_a_session(self, tmp_path: Path, status: int, after: int) -> None:
        with remote(tmp_path, "http", Script(http=Http(sessions=True, delete=status))) as mock:
            assert mock.request("DELETE").status == 400
            mock.handshake()
            assert mock.request("DELETE").status == status
            assert mock.post("tools/list").status == after

    def test_delete_can_stay_unanswered(self, tmp_path: Path) -> None:
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

    def test_strict_server_refuses_requests_before_initialized(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", Script(strict=True, http=Http(sessions=True, accepted=204))) as mock:
            greeting = mock.post("initialize", {"protocolVersion": "2025-11-25"})
            mock.session = {"Mcp-Session-Id": greeting.headers["Mcp-Session-Id"]}
            assert mock.post("tools/list").status == 400
            assert mock.post("notifications/initialized", id=None).status == 204
            assert mock.post("tools/list").status == 200


def test_missing_header_is_401_for_every_verb(tmp_path: Path) -> None:
    script = Script(http=Http(required_headers={"Authorization": "Bearer x"}))
    with remote(tmp_path, "http", script) as mock:
        assert [mock.request(verb).status for verb in ("GET", "DELETE", "POST")] == [401] * 3
        assert mock.post("ping", Authorization="Bearer x").status == 200


@pytest.mark.parametrize("body", [b"{nonsense", b"[]", b'{"jsonrpc":"2.0","id":7}'])
def test_invalid_message_is_refused(tmp_path: Path, body: bytes) -> None:
    with remote(tmp_path, "http") as mock:
        response = mock.request("POST", body=body)
        assert response.status == 400
        assert json_of(response)["error"]["code"] in (-32700, -32600)


def test_other_paths_and_verbs_are_refused(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(http=Http(get=False))) as mock:
        assert mock.request("POST", "/other").status == 404
        assert [mock.request(verb).status for verb in ("PUT", "GET", "DELETE")] == [405] * 3


class TestModernEra:
    def ask(
        self, mock: RemoteMockDriver, method: str, params: Mapping[str, object], **headers: str
    ) -> tuple[int, int | None]:
        sent = {**MODERN, "Mcp_Method": method, **headers}
        response = mock.post(method, {**params, "_meta": META}, 1, **sent)
        return response.status, json_of(response).get("error", {}).get("code")

    def test_headers_must_match_the_body(self, tmp_path: Path) -> None:
        call = {"name": "größe", "arguments": {}}
        with remote(tmp_path, "http", Script(era="modern", tools=[tool("größe")])) as mock:
            assert self.ask(mock, "server/discover", {}) == (200, None)
            assert self.ask(mock, "server/discover", {}, Mcp_Method="tools/list") == (400, -32020)
            assert self.ask(mock, "server/discover", {}, MCP_Protocol_Version="2025-11-25") == (400, -32020)
            assert self.ask(mock, "tools/call", call) == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="gr=C3=B6=C3=9Fe") == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="=?base64?!?=") == (400, -32020)
            assert self.ask(mock, "tools/call", call, Mcp_Name="=?base64?Z3LDtsOfZQ==?=") == (200, None)

    def test_errors_have_a_status_and_no_session(self, tmp_path: Path) -> None:
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
