"""Answers of authorization servers that are compressed: once is read, everything else is refused, and nothing fills the memory."""

from __future__ import annotations

import tracemalloc
import zlib

import httpx
import pytest

from dynamic_mcp import __version__
from dynamic_mcp.oauth import request
from dynamic_mcp.oauth.request import TransientFailure


def zipped(data: bytes, bits: int = 16 + zlib.MAX_WBITS) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


DOCUMENT = b'{"resource": "https://mcp.test/public/mcp", "authorization_servers": []}'


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", zipped(DOCUMENT)),
        ("X-GZIP", zipped(DOCUMENT)),
        ("deflate", zipped(DOCUMENT, zlib.MAX_WBITS)),
        ("deflate", zipped(DOCUMENT, -zlib.MAX_WBITS)),
        ("identity, ", DOCUMENT),
    ],
)
async def test_answer_compressed_once_is_read_although_nothing_asked_for_it(coding: str, body: bytes) -> None:
    asked: list[httpx.Request] = []
    assert await fetch(body, coding, asked) == (200, DOCUMENT)
    assert asked[0].headers["Accept-Encoding"] == "identity"


async def test_requests_name_the_proxy() -> None:
    """Firewalls refuse the name of the library."""
    asked: list[httpx.Request] = []
    await fetch(DOCUMENT, "", asked)
    assert asked[0].headers["User-Agent"] == f"dynamic-mcp/{__version__}"


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("gzip, gzip", zipped(zipped(DOCUMENT)), "has the content coding 'gzip, gzip'"),
        ("br", DOCUMENT, "has the content coding 'br'"),
        ("\x1b]0;" + "x" * 99, DOCUMENT, r"has the content coding '\\x1b\]0;x{36}'"),
        ("gzip", b"not compressed", "cannot be decompressed"),
        ("deflate", zipped(b" " * (request.MAX_ANSWER + 1), zlib.MAX_WBITS), "larger than 1 MiB"),
        # Empty blocks come to nothing, however many there are.
        ("gzip", zipped(b"")[:10] + b"\0\0\0\xff\xff" * (1 << 18), "larger than 1 MiB"),
    ],
)
async def test_answer_with_another_coding_or_too_large_is_refused(
    coding: str, body: bytes, reason: str
) -> None:
    with pytest.raises(TransientFailure, match=reason):
        await fetch(body, coding)


async def test_decompression_ends_at_the_bound() -> None:
    body = zipped(b" " * (256 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(TransientFailure, match="larger than 1 MiB"):
            await fetch(body, "gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * request.MAX_ANSWER


async def fetch(body: bytes, coding: str, asked: list[httpx.Request] | None = None) -> tuple[int, bytes]:
    """Send a request whose answer has this body. Not with respx, which decompresses a body before the proxy can."""

    def answer(got: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(got)
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=httpx.ByteStream(body))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        return await request.send_request(http, "the address", "GET", "https://as.test/x")
