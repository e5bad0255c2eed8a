"""The loopback listener, over raw sockets: other requests, the answer, and the page for the user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from dynamic_mcp.config.oauth import CALLBACK_PATH as PATH
from dynamic_mcp.oauth import callback as callback_module
from dynamic_mcp.oauth.callback import Callback, CallbackAnswer, listening
from dynamic_mcp.oauth.request import TransientFailure
from tests.dynamic_mcp.oauth.kit import CODE, ISSUER, visit

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

STATE = "the-right-state"
RIGHT = f"code={CODE}&state={STATE}"
EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    async with listening("docs", STATE) as callback:
        yield callback


def status_of(reply: str) -> int:
    return int(reply.split(" ", 2)[1])


async def answer_of(callback: Callback) -> CallbackAnswer:
    async with asyncio.timeout(10):
        return await callback.wait()


async def succeeds(callback: Callback) -> None:
    """Check that the right answer still arrives."""
    visiting = asyncio.create_task(visit(f"{callback.redirect_uri}?{RIGHT}"))
    assert await answer_of(callback) == CallbackAnswer(CODE, None, None)
    callback.finish(None)
    assert status_of(await visiting) == 200


async def test_listener_uses_its_own_loopback_port(callback: Callback) -> None:
    parts = urlsplit(callback.redirect_uri)
    async with listening("other", "x") as other:
        assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/oauth/callback")
        assert parts.port != urlsplit(other.redirect_uri).port


async def test_requested_port_is_used_if_it_is_free(callback: Callback) -> None:
    taken = urlsplit(callback.redirect_uri).port
    assert taken is not None
    async with listening("other", "x", preferred=taken) as other:
        free = urlsplit(other.redirect_uri).port
        assert free is not None
        assert free != taken
    async with listening("other", "x", preferred=free) as again:
        assert urlsplit(again.redirect_uri).port == free


@pytest.mark.parametrize(
    ("configured", "path"),
    [("http://localhost/callback", "/callback"), ("http://127.0.0.1", ""), ("http://localhost/a/b", "/a/b")],
)
async def test_configured_address_without_a_port_has_any(configured: str, path: str) -> None:
    async with listening("docs", STATE, configured) as callback:
        parts = urlsplit(callback.redirect_uri)
        assert (parts.hostname, parts.path) == (urlsplit(configured).hostname, path)
        assert status_of(await visit(f"{callback.redirect_uri}/other?{RIGHT}")) == 404
        await succeeds(callback)


async def test_configured_port_is_the_only_one(callback: Callback) -> None:
    taken = urlsplit(callback.redirect_uri).port
    with pytest.raises(TransientFailure, match=f"port {taken} of its redirect_uri cannot be opened"):
        async with listening("docs", STATE, f"http://127.0.0.1:{taken}/callback"):
            pass


async def test_listener_closes_with_the_block() -> None:
    async with listening("docs", STATE) as callback:
        address = callback.redirect_uri
    with pytest.raises(ConnectionRefusedError):
        await visit(address)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /favicon.ico", 404),
        ("GET /", 404),
        (f"GET /oauth?{RIGHT}", 404),
        (f"GET {PATH}/?{RIGHT}", 404),
        (f"GET {PATH.upper()}?{RIGHT}", 404),
        (f"HEAD {PATH}?{RIGHT}", 405),
        (f"POST {PATH}?{RIGHT}", 405),
        (f"get {PATH}?{RIGHT}", 405),
        (f"GET {PATH}", 400),
        (f"GET {PATH}?code=x", 400),
        (f"GET {PATH}?state={STATE}", 400),
        (f"GET {PATH}?code=&state={STATE}", 400),
        (f"GET {PATH}?code=x&state=wrong", 400),
        (f"GET {PATH}?code=x&state=", 400),
        (f"GET {PATH}?code=x&state={STATE[:-1]}", 400),
        (f"GET {PATH}?code=x&state={STATE}x", 400),
        (f"GET {PATH}?code=x&state={STATE.upper()}", 400),
        (f"GET {PATH}?code=x&state={STATE}&state={STATE}", 400),
        (f"GET {PATH}?code=x&state=wrong&state={STATE}", 400),
        (f"GET {PATH}?code=x&STATE={STATE}", 400),
        (f"GET {PATH}?code=x&state=%FF\xff", 400),
        (f"GET {PATH}?code=x&code=y&state={STATE}", 400),
        (f"GET {PATH}?error=x&error=y&state={STATE}", 400),
        (f"GET {PATH}?code=x&iss=a&iss=b&state={STATE}", 400),
        (f"GET {PATH}?{'a=b&' * 100}{RIGHT}", 400),
        ("GET http://[::1", 400),
        ("nonsense", 404),
        ("", 404),
    ],
)
async def test_other_requests_are_refused_and_the_wait_goes_on(
    callback: Callback, request_line: str, status: int
) -> None:
    reply = await visit(callback.redirect_uri, f"{request_line} HTTP/1.1\r\n\r\n".encode("latin-1"))

    assert status_of(reply) == status
    assert CODE not in reply
    await succeeds(callback)


@pytest.mark.parametrize(
    "headers",
    [
        b"Cookie: " + b"c" * 300_000 + b"\r\n",
        b"Cookie: c\r\n" * 30_000,
        # Each piece that the listener reads ends within the end of the headers.
        *(b"X: " + b"x" * (16_384 - 5 - more) + b"\r\n" for more in range(4)),
        b"",
    ],
)
async def test_headers_may_be_long(callback: Callback, headers: bytes) -> None:
    """A browser sends the cookies of all ports of 127.0.0.1."""
    path = urlsplit(callback.redirect_uri).path
    request = f"GET {path}?{RIGHT} HTTP/1.1\r\n".encode() + headers + b"\r\n"
    visiting = asyncio.create_task(visit(callback.redirect_uri, request))

    assert await answer_of(callback) == CallbackAnswer(CODE, None, None)
    callback.finish(None)
    assert status_of(await visiting) == 200


@pytest.mark.parametrize("rest", [b"X: " + b"x" * (1 << 20) + b"\r\n\r\n", b"X: x\r\n"])
async def test_headers_that_do_not_end_are_no_answer(
    callback: Callback, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(callback_module, "_REQUEST_TIME", 0.1 if len(rest) < 10 else 10)
    path = urlsplit(callback.redirect_uri).path

    assert await visit(callback.redirect_uri, f"GET {path}?{RIGHT} HTTP/1.1\r\n".encode() + rest) == ""
    await succeeds(callback)


async def test_connections_without_a_request_do_not_end_the_wait(
    callback: Callback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback_module, "_REQUEST_TIME", 0.1)
    parts = urlsplit(callback.redirect_uri)
    silent, writer = await asyncio.open_connection(parts.hostname, parts.port)
    _, gone = await asyncio.open_connection(parts.hostname, parts.port)
    gone.close()

    assert await visit(callback.redirect_uri, b"x" * 20_000) == ""
    await succeeds(callback)
    async with asyncio.timeout(10):
        assert await silent.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (f"code=a%2Bb%26c+d&state={STATE}", CallbackAnswer("a+b&c d", None, None)),
        (f"state={STATE}&code=x&iss={quote(ISSUER, safe='')}", CallbackAnswer("x", None, ISSUER)),
        (f"state={STATE}&code=x&iss=", CallbackAnswer("x", None, "")),
        (
            f"error=access_denied&error_description=d&state={STATE}",
            CallbackAnswer(None, "access_denied", None, "d"),
        ),
        (f"error=e&code=x&state={STATE}", CallbackAnswer("x", "e", None)),
    ],
)
async def test_answer_is_parsed(callback: Callback, query: str, answer: CallbackAnswer) -> None:
    visiting = asyncio.create_task(visit(f"{callback.redirect_uri}?{query}"))

    assert await answer_of(callback) == answer
    callback.finish(None)
    await visiting


async def test_second_answer_is_refused(callback: Callback) -> None:
    first = asyncio.create_task(visit(f"{callback.redirect_uri}?{RIGHT}"))
    assert await answer_of(callback) == CallbackAnswer(CODE, None, None)

    second = await visit(f"{callback.redirect_uri}?code=other&state={STATE}")

    assert status_of(second) == 400
    assert "answered already" in second
    assert await answer_of(callback) == CallbackAnswer(CODE, None, None)
    callback.finish(None)
    assert "Signed in" in await first
    assert status_of(await visit(f"{callback.redirect_uri}?{RIGHT}")) == 400


async def test_page_waits_for_the_outcome(callback: Callback) -> None:
    visiting = asyncio.create_task(visit(f"{callback.redirect_uri}?{RIGHT}"))
    await answer_of(callback)
    assert not visiting.done()
    callback.finish("the sign-in did not succeed")
    callback.finish(None)

    reply = await visiting
    assert status_of(reply) == 400
    assert "Not signed in" in reply


async def test_abandoned_sign_in_still_answers_the_browser() -> None:
    async with listening("docs", STATE) as callback:
        visiting = asyncio.create_task(visit(f"{callback.redirect_uri}?{RIGHT}"))
        await answer_of(callback)

    assert "the sign-in was given up" in await visiting


async def test_cancelled_wait_loses_no_answer(callback: Callback) -> None:
    waiting = asyncio.create_task(callback.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})

    await succeeds(callback)


@pytest.mark.parametrize("problem", [None, f"refused ({EVIL})"])
async def test_page_escapes_foreign_text(problem: str | None) -> None:
    async with listening(f"docs {EVIL}", STATE) as callback:
        target = f"{callback.redirect_uri}?{RIGHT}&error_description={quote(EVIL)}"
        visiting = asyncio.create_task(visit(target))
        await answer_of(callback)
        callback.finish(problem)
        reply = await visiting

    assert "<script" not in reply
    assert "docs &lt;script&gt;" in reply
    assert CODE not in reply
    assert STATE not in reply


@pytest.mark.parametrize("problem", [None, "the sign-in was refused (access_denied)"])
async def test_page(callback: Callback, problem: str | None, snapshot: SnapshotAssertion) -> None:
    visiting = asyncio.create_task(visit(f"{callback.redirect_uri}?{RIGHT}"))
    await answer_of(callback)
    callback.finish(problem)

    assert (await visiting).replace("\r\n", "\n") == snapshot


@pytest.mark.parametrize(
    ("pasted", "problem"),
    [
        ("", "There is nothing here."),
        ("http://[", "This is not an answer to a sign-in."),
        ("http://127.0.0.1:1/other?code=x", "There is nothing here."),
        (f"http://127.0.0.1:1{PATH}?code=x&state=wrong", "This answer does not belong"),
        (f"http://127.0.0.1:1{PATH}?code=x&state=\udcff", "This answer does not belong"),
    ],
)
async def test_pasted_address_that_is_not_an_answer_is_explained(
    callback: Callback, pasted: str, problem: str
) -> None:
    assert (callback.paste(pasted) or "").startswith(problem)
    await succeeds(callback)


async def test_address_can_be_pasted(callback: Callback) -> None:
    assert callback.paste(f"  {callback.redirect_uri}?{RIGHT}\n") is None
    assert await answer_of(callback) == CallbackAnswer(CODE, None, None)
    assert callback.paste(f"{callback.redirect_uri}?{RIGHT}") == "This sign-in was answered already."


async def test_many_open_connections_do_not_block_the_answer(callback: Callback) -> None:
    parts = urlsplit(callback.redirect_uri)
    strangers = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(50)]

    await succeeds(callback)
    for _, writer in strangers:
        writer.close()
