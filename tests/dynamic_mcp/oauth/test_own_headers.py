"""The configured headers in the requests of a sign-in."""

from __future__ import annotations

import httpx
import pytest
import respx

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.oauth import request as requests
from dynamic_mcp.oauth.own_headers import client_for
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.secret import Secret

HEADERS = (("X-Key", "k"), ("Authorization", "Bearer static"), ("Host", "evil"), ("accept", "text/html"))


@pytest.mark.parametrize(
    ("url", "address", "sent"),
    [
        ("https://mcp.test/a/mcp", "https://mcp.test/.well-known/x", True),
        ("https://mcp.test/a/mcp", "https://MCP.test:443/token", True),
        ("https://user:secret@mcp.test/mcp", "https://mcp.test/token", True),
        ("https://mcp.test/mcp", "https://as.test/token", False),
        ("https://mcp.test/mcp", "https://mcp.test:8443/token", False),
        ("https://mcp.test/mcp", "http://mcp.test/token", False),
        ("https://mcp.test/mcp", "https://mcp.test.evil.test/token", False),
    ],
)
async def test_headers_reach_the_own_origin_only(
    monkeypatch: pytest.MonkeyPatch, url: str, address: str, sent: bool
) -> None:
    # The routes of respx are below the usual transport only.
    monkeypatch.setattr(requests, "http_client", lambda reach: httpx.AsyncClient())
    headers = tuple((name, Secret(value)) for name, value in HEADERS)
    with respx.mock() as routes:
        route = routes.get(address).respond(200)
        async with client_for(RemoteTransport(Secret(url), headers), NetworkReach(url)) as http:
            await http.get(address, headers={"Accept": "application/json"})

    request: httpx.Request = route.calls.last.request
    assert request.headers.get("X-Key") == ("k" if sent else None)
    assert "Authorization" not in request.headers
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Host"] != "evil"


async def test_configured_name_of_the_client_replaces_that_of_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "http_client", lambda reach: httpx.AsyncClient())
    url, address = "https://mcp.test/mcp", "https://mcp.test/token"
    with respx.mock() as routes:
        route = routes.post(address).respond(200)
        async with client_for(
            RemoteTransport(Secret(url), (("user-agent", Secret("mine")),)), NetworkReach(url)
        ) as http:
            await requests.send_request(http, "it", "POST", address)

    assert route.calls.last.request.headers.get_list("User-Agent") == ["mine"]
