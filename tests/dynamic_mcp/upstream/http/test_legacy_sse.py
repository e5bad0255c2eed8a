"""HTTP+SSE: where the messages go, and what goes with them."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from dynamic_mcp.config.model import SseTransport
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.protocol import versions
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from tests.dynamic_mcp.helpers import WITHIN
from tests.dynamic_mcp.upstream.http.events import RecordedEvents
from tests.dynamic_mcp.upstream.http.scripted_server import Request, site


@pytest.mark.parametrize(
    "endpoint", ["{origin}/messages?a=b", "/messages?a=b", "{foreign_user}/messages?a=b"]
)
async def test_credentials_in_the_url_go_with_every_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    streams: list[Request] = []

    async def serve(request: Request) -> None:
        if request.method == "GET":
            streams.append(request)
            request.begin()
            foreign = running.origin.replace("://", "://other:one@")
            address = endpoint.format(origin=running.origin, foreign_user=foreign)
            request.write(f"event: endpoint\ndata: {address}\n\n".encode())
            await request.gone()
            return
        request.answer(202)
        if request.rpc == "initialize":
            result = {"protocolVersion": versions.LATEST_LEGACY, "capabilities": {}}
            streams[0].event({"id": request.id, "result": result})

    async with site(serve) as running:
        url = running.url.replace("://", "://user:pass@")
        transport = SseTransport(Secret(url), (), None, ())
        client = HttpClient(url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = SseUpstream(client, RecordedEvents())
        try:
            async with asyncio.timeout(WITHIN):
                await upstream.open(WITHIN)
        finally:
            await upstream.close()

    basic = f"Basic {base64.b64encode(b'user:pass').decode()}"
    sent = [
        (request.method, request.target, request.headers.get("authorization")) for request in running.requests
    ]
    assert sent == [("GET", "/mcp", basic), *[("POST", "/messages?a=b", basic)] * 2]
