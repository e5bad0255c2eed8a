"""A reply that is no answer fails its call with what came: status, type, compression, and what is wrong with the body."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dynamic_mcp.errors import HttpStatus, UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.upstream.http import refusals
from tests.dynamic_mcp.helpers import WITHIN
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, Server, connected

FAULT = "; the server is faulty, or its url is not that of an MCP server"
MAX_SIZE = 1 << 20
KEY = "canary-key-4711"
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


# Event streams


async def stream(request: Request, body: bytes, *, is_cut: bool = False) -> None:
    """Answer with an event stream, whose end is missing if ``is_cut``."""
    body = body.replace(b"ANSWER", b'{"jsonrpc":"2.0","id":%d,"result":{"name":"here"}}' % request.id)
    request.begin(200, Content_Length=str(len(body) + is_cut))
    request.write(body)


@pytest.mark.parametrize(
    "body",
    [
        b"data: ANSWER\n",
        b"data: ANSWER",
        b"event: message\ndata: ANSWER\nid: 7",
        b": first\n\ndata: ANSWER\r",
        b"data: [ANSWER]",
        b"ANSWER",
        b"ANSWER\n",
        b"[ANSWER]",
        b"PRETTY",
        b"ANSWER\n\n",
    ],
)
async def test_answer_without_the_last_line_ends_or_without_events_is_taken(
    tmp_path: Path, body: bytes
) -> None:
    async def reply(request: Request) -> None:
        pretty = b'{\n"jsonrpc": "2.0",\n\n"id": %d, "result": {"name": "here"}\n}' % request.id
        await stream(request, body.replace(b"PRETTY", pretty))

    server = Server()
    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = reply
        assert await upstream.call() == "here"


@pytest.mark.parametrize("size", [10, 1 << 20])
async def test_large_answer_without_the_last_line_ends_is_taken(tmp_path: Path, size: int) -> None:
    async def reply(request: Request) -> None:
        text = b"x" * size
        await stream(
            request,
            b'data: {"jsonrpc":"2.0","id":%d,"result":{"name":"here","x":"%b"}}' % (request.id, text),
        )

    server = Server()
    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = reply
        assert await upstream.call() == "here"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b": nothing\n\n",
        b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n',
        b'data: {"jsonrpc":"2.0","id":1,"result":{"x":{}',
        b'{"jsonrpc":"2.0","id":1,',
        b'{"error":"unauthorized"}',
    ],
)
async def test_stream_without_an_answer_is_named(tmp_path: Path, body: bytes) -> None:
    failed = await failure(tmp_path, lambda request: stream(request, body))
    assert failed == "the server ended its event stream without an answer"


@pytest.mark.parametrize("body", [b"data: ANSWER", b"ANSWER", b"data: x\n\n"])
async def test_stream_that_breaks_off_is_no_end(tmp_path: Path, body: bytes) -> None:
    failed = await failure(tmp_path, lambda request: stream(request, body, is_cut=True))
    assert failed == "the connection was lost before the answer came"


async def test_unfinished_notification_comes_once(tmp_path: Path) -> None:
    note = b'data: {"jsonrpc":"2.0","method":"notifications/x"}'

    async def begin(request: Request) -> None:
        await stream(request, b"retry: 1\nid: 1\ndata:\n\nid: 2\n" + note)

    async def resume(request: Request) -> None:
        if "last-event-id" not in request.headers:
            request.answer(405)
            return
        (call,) = upstream.site.of(CALL)
        request.begin()
        request.write(note + b'\n\ndata: {"jsonrpc":"2.0","id":%d,"result":{"name":"here"}}\n\n' % call.id)

    server = Server()
    server.on |= {CALL: begin, "GET": resume}
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "here"
        assert upstream.events.methods == ["notifications/x"]


@pytest.mark.parametrize(
    ("status", "kind", "body", "words"),
    [
        (503, "application/json", b"{", "{"),
        (503, "text/plain", b"", ""),
        (500, "text/html", b"<p>busy!", "busy!"),
        (302, "application/json", b"{", ""),
    ],
)
async def test_refusal_whose_body_does_not_end_is_reported_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: str, body: bytes, words: str
) -> None:
    monkeypatch.setattr(refusals, "READ_TIME", 0.1)
    server = Server()

    async def refuse(request: Request) -> None:
        request.begin(status, kind, Content_Length="100")
        request.write(body)
        await request.gone()

    async with connected(tmp_path, server) as upstream:
        server.on[CALL] = refuse
        with pytest.raises(HttpStatus) as raised:
            await upstream.call(timeout=WITHIN / 2)
    assert (raised.value.status, raised.value.last_output) == (status, words)


@pytest.mark.parametrize("length", [100, MAX_SIZE + 100])
async def test_refusal_whose_body_breaks_off_or_is_too_large_has_its_status(
    tmp_path: Path, length: int
) -> None:
    server = Server()

    async def refuse(request: Request) -> None:
        request.begin(503, "application/json", Content_Length=str(length))
        request.write(b"down".ljust(length - 10))

    async with connected(tmp_path, server, MAX_SIZE) as upstream:
        server.on[CALL] = refuse
        with pytest.raises(HttpStatus, match="503") as raised:
            await upstream.call()
    assert raised.value.last_output.startswith("down")


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("is_large", [False, True])
async def test_json_rpc_error_of_a_refusal_shows_no_secret(
    tmp_path: Path, status: int, is_large: bool
) -> None:
    """An answer is the server's own, so it stays as it came."""
    server = Server()

    async def refuse(request: Request) -> None:
        error = {"code": -32000, "message": f"bad {KEY}", "data": {"key": KEY, "n": 1}}
        if is_large:
            error["data"] = "x" * 100_000
        request.answer(status, {"jsonrpc": "2.0", "id": None, "error": error})

    async with connected(tmp_path, server) as upstream:
        upstream.upstream._client._hidden = HiddenValues([KEY])
        server.on[CALL] = refuse
        with pytest.raises(UpstreamError) as raised:
            await upstream.call()
    if isinstance(raised.value, UpstreamRefused):
        assert raised.value.code == -32000
        assert (KEY.encode() in raised.value.error) is (status == 200)
    else:
        assert isinstance(raised.value, HttpStatus)
        assert status != 200
        assert is_large
        assert "bad [hidden]" in raised.value.last_output
