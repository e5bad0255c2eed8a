"""The bearer check of the MCP URL."""

from pathlib import Path

from mock_servers.oauth_script import OAuth
from mock_servers.script import Script

from ..driver import event_of, remote
from .driver import authorize, exchange, status_with


def test_any_resource_and_any_token(tmp_path: Path) -> None:
    with remote(tmp_path, "http", Script(oauth=OAuth(any_resource=True, any_token=True))) as mock:
        resource = "http://127.0.0.1:1/mcp"
        given = exchange(mock, authorize(mock, resource=resource)["code"], resource=resource)
        assert status_with(mock, given["access_token"]) == status_with(mock, "of-another-server")
        assert status_with(mock, "of-another-server") != 401
        assert mock.call().status == 401


def test_sse_stream_and_posts_require_the_token(tmp_path: Path) -> None:
    with remote(tmp_path, "sse", Script(oauth=OAuth())) as mock:
        assert mock.request("GET").status == 401
        token = exchange(mock, authorize(mock)["code"])["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        stream = mock.request("GET", **bearer)
        target = event_of(stream)["data"]
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert mock.request("POST", target, body).status == 401
        assert mock.request("POST", target, body, **bearer).status == 202
