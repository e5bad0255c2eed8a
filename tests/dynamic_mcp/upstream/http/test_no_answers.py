"""A reply that is no answer fails its call with what came: status, type, compression, and what is wrong with the body."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dynamic_mcp.errors import UpstreamFailed
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, Server, connected

FAULT = "; the server is faulty, or its url is not that of an MCP server"
_OBJECT = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[]}}'


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


async def failure(tmp_path: Path, reply: Callable[[Request], Awaitable[None]]) -> str:
    """Why a call fails that gets this reply."""
    server = Server()
    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = reply
        with pytest.raises(UpstreamFailed) as raised:
            await upstream.call()
    return str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind", "body", "text"),
    [
        (202, "", b"", f"its answer (HTTP 202) has no body, although the request needs an answer{FAULT}"),
        (
            200,
            "application/json",
            b"",
            f"its answer (HTTP 200, application/json) has no body, although the request needs an answer{FAULT}",
        ),
        (
            200,
            "text/html",
            b"<p>Hello",
            f"its answer (HTTP 200, text/html) is neither JSON nor an event stream{FAULT}",
        ),
        (
            201,
            "image/png",
            b"\x89PNG",
            f"its answer (HTTP 201, image/png) is neither JSON nor an event stream{FAULT}",
        ),
        (
            200,
            "application/json",
            b"nope",
            f"its answer cannot be read: the message is not valid JSON (HTTP 200, application/json){FAULT}",
        ),
        (
            200,
            "application/json",
            b'[{"jsonrpc":',
            (
                "its answer cannot be read: the message is not valid JSON: it ends too early (HTTP 200, "
                f"application/json){FAULT}"
            ),
        ),
        (
            200,
            "application/json",
            b'{"jsonrpc":"2.0","id":99999,"result":{}}',
            f"its answer (HTTP 200, application/json) is not the JSON-RPC answer to the request{FAULT}",
        ),
    ],
)
async def test_call_fails_with_what_came(
    tmp_path: Path, status: int, kind: str, body: bytes, text: str
) -> None:
    async def reply(request: Request) -> None:
        request.answer(status, body, kind=kind)

    assert await failure(tmp_path, reply) == text


async def test_a_second_object_in_the_body_is_named(tmp_path: Path) -> None:
    async def reply(request: Request) -> None:
        request.answer(200, _OBJECT % request.id + b'{"more":1}', kind="application/json")

    assert await failure(tmp_path, reply) == (
        "the answer is malformed: the message is not valid JSON: more follows its end (HTTP 200, application/json)"
    )


async def test_a_compressed_body_that_ends_early_is_named(tmp_path: Path) -> None:
    async def reply(request: Request) -> None:
        # The pieces of the compressed text up to a flush can be read; the rest is missing.
        text = _OBJECT % request.id
        whole = gzip.compress(text[:-4])
        request.answer(200, whole[:-8], kind="application/json", Content_Encoding="gzip")

    assert await failure(tmp_path, reply) == (
        "the answer is malformed: the message is not valid JSON: it ends too early "
        "(HTTP 200, application/json, compressed with gzip)"
    )
