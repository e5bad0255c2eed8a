"""Requests that RFC 9112 allows or forbids, and that the HTTP library passes on as they are."""

from __future__ import annotations

import pytest

from tests.dynamic_mcp.extras.serving.door import call, request, serving
from tests.dynamic_mcp.extras.serving.raw import head, post, raw

TOKEN = "correct-horse-battery"
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("length", ["3", "0", "100000"])
async def test_two_ways_to_end_a_body_are_refused_and_the_connection_ends(method: str, length: str) -> None:
    async with serving() as http:
        session = await http.session()
        smuggled = post(http, call(), session)
        sent = head(http, {**session, **CHUNKED, "Content-Length": length}, method=method)
        async with raw(http, sent + b"0\r\n\r\n" + smuggled) as client:
            status, body = await client.response()
            assert (status, b"but not both" in body) == (400, True)
            assert await client.rest() == b""
        assert (await http.post(request("ping"), session)).status_code == 200
        assert not http.proxy.servers[0].requests("tools/call")


async def test_chunked_body_alone_passes() -> None:
    async with serving() as http:
        sent = head(http, {**await http.session(), **CHUNKED})
        body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        async with raw(http, sent + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) as client:
            assert (await client.response())[0] == 200


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://127.0.0.1/mcp", "127.0.0.1", 200),
        ("HTTP://LOCALHOST:1/mcp", "127.0.0.1", 200),
        ("https://proxy.example/mcp", "", 403),
        ("http://[::1]:8765/mcp?a=b", "127.0.0.1", 200),
        # The address counts, and not the header.
        ("http://127.0.0.1/mcp", "evil.example", 200),
        ("http://evil.example/mcp", "127.0.0.1", 403),
        ("http://127.0.0.1.evil.example/mcp", "127.0.0.1", 403),
        ("http://127.0.0.1@evil.example/mcp", "127.0.0.1", 403),
        ("http://evil.example@127.0.0.1/mcp", "127.0.0.1", 403),
        ("http://127.0.0.1%00.evil.example/mcp", "127.0.0.1", 403),
        ("http://evil.example#127.0.0.1/mcp", "127.0.0.1", 403),
        ("http:///mcp", "127.0.0.1", 403),
        ("http://127.0.0.1/other", "127.0.0.1", 404),
        ("http://127.0.0.1", "127.0.0.1", 404),
        ("ftp://127.0.0.1/mcp", "127.0.0.1", 400),
        ("//127.0.0.1/mcp", "127.0.0.1", 404),
        ("http%3A//127.0.0.1/mcp", "127.0.0.1", 404),
        ("/mcp", "127.0.0.1", 200),
    ],
)
async def test_absolute_address_in_the_request_line_counts_as_host_and_path(
    target: str, host: str, expected: int
) -> None:
    async with serving() as http:
        fields = {**await http.session(), "Host": host or "localhost"}
        async with raw(http, post(http, request("ping"), fields, target)) as client:
            assert (await client.response())[0] == expected


async def test_absolute_address_needs_the_token_too() -> None:
    async with serving(token=TOKEN) as http:
        found = []
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            sent = head(http, headers, "http://localhost/status", "GET")
            async with raw(http, sent) as client:
                found.append((await client.response())[0])
    assert found == [401, 200]
