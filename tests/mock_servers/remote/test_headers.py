"""Header checks of the mocks behind a URL."""

from pathlib import Path

import pytest

from mock_servers.script import Http, Script

from .driver import META, json_of, remote


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:1234"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "[::1]:80"}, 200),
    ],
)
def test_local_only_refuses_other_hosts_and_origins(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with remote(tmp_path, "http", Script(http=Http(local_only=True))) as mock:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert mock.request("POST", "/mcp", ping, **headers).status == status


class TestBothErasOnOneUrl:
    script = Script(era="both", http=Http(sessions=True))

    def test_header_separates_modern_from_legacy_requests(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", self.script) as mock:
            modern = mock.post("tools/list", MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list")
            legacy = mock.post("tools/list", MCP_Protocol_Version="2025-11-25")

            assert (modern.status, json_of(modern)["error"]["code"]) == (400, -32602)
            assert (legacy.status, json_of(legacy)["error"]["code"]) == (400, -32000)

    def test_version_that_contradicts_its_header_is_refused(self, tmp_path: Path) -> None:
        unknown = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
        with remote(tmp_path, "http", self.script) as mock:
            response = mock.post(
                "server/discover",
                {"_meta": unknown},
                MCP_Protocol_Version="2026-07-28",
                Mcp_Method="server/discover",
            )

            assert (response.status, json_of(response)["error"]["code"]) == (400, -32020)
