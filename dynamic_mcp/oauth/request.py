"""One request to an authorization server, and its answer as bytes.

The caller gets one kind of error for every failure. An unusable address, an endless answer or endless nesting is the server's fault,
and must not end the proxy. The client asks for no content coding. It still reads an answer that is compressed once, and counts the bytes
while they come out of the decompressor. No error contains the text of the library, which may contain addresses. Only ``fetch``
follows redirects, and only within an origin.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urljoin

import anyio
import anyio.lowlevel
import httpx
import msgspec

from dynamic_mcp import __version__
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.judged import JudgedTransport
from dynamic_mcp.oauth.reach import NetworkReach, TooInward
from dynamic_mcp.origin import origin_of
from dynamic_mcp.request_causes import cause_of

#: Seconds for one request, from the connection to the end of the answer.
REQUEST_TIME = 15.0
#: Seconds for one of several addresses of metadata, with its redirects.
METADATA_TIME = 6.0
_MAX_REDIRECTS = 3
#: The largest answer in bytes.
MAX_ANSWER = 1 << 20

#: Firewalls refuse the usual name of an HTTP library.
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"dynamic-mcp/{__version__}",
}
#: What zlib needs to know about each content coding (RFC 9110, section 8.4.1).
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

_T = TypeVar("_T", bound=msgspec.Struct)


class TransientFailure(UpstreamFailed):
    """The authorization server could not answer now. The same request may succeed later."""


class NoConnection(TransientFailure):
    """No connection came about, so the authorization server got nothing."""


class Unreadable(Exception):
    """The answer is not the expected JSON object."""


async def send_request(
    http: httpx.AsyncClient,
    what: str,
    method: str,
    url: str,
    *,
    json: object = None,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> tuple[int, bytes]:
    """The status and body of the answer.

    Raises TransientFailure, also for 408, 429 and 5xx, and UpstreamFailed for an address out of reach. The messages name ``what`` and
    the address, without its query.
    """
    status, body, _ = await _exchange(http, what, method, url, json=json, form=form, basic=basic)
    return status, body


async def _exchange(
    http: httpx.AsyncClient,
    what: str,
    method: str,
    url: str,
    *,
    json: object = None,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> tuple[int, bytes, str | None]:
    """Status, body and ``Location`` of the answer; raises like ``send_request``."""
    what = f"{what} ({shown(url)})"
    auth = httpx.USE_CLIENT_DEFAULT if basic is None else httpx.BasicAuth(*basic)
    try:
        with anyio.fail_after(REQUEST_TIME):
            async with http.stream(method, url, json=json, data=form, auth=auth, headers=_HEADERS) as reply:
                status, body = reply.status_code, await _body_of(reply, what)
                location: str | None = reply.headers.get("Location")
    except TooInward as refusal:
        raise UpstreamFailed(f"{what} {refusal}") from None
    # The resolver of the operating system raises ValueError for a name that is invalid in DNS.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
        kind = NoConnection if isinstance(error, httpx.ConnectError) else TransientFailure
        raise kind(f"{what} gave no answer: {cause_of(error)}") from None
    if status >= 500 or status in (408, 429):
        raise TransientFailure(f"{what} answered with HTTP {status}")
    return status, body, location


async def fetch(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
    """GET a document, as ``send_request`` does, and follow redirects within its origin."""
    with anyio.move_on_after(METADATA_TIME):
        for _ in range(_MAX_REDIRECTS):
            status, body, location = await _exchange(http, what, "GET", url)
            target = _within_origin(url, location) if 300 <= status < 400 else None
            if target is None:
                return status, body
            url = target
        return status, body
    raise TransientFailure(f"{what} ({shown(url)}) did not answer within {METADATA_TIME:g} s")


def _within_origin(url: str, location: str | None) -> str | None:
    try:
        target = urljoin(url, location or "")
        return target if location and origin_of(target) == origin_of(url) else None
    except ValueError:
        return None


async def _body_of(reply: httpx.Response, what: str) -> bytes:
    """The body without its content coding. Raises TransientFailure, as soon as it is too large before or after decompression."""
    decompress: Callable[[bytes, int], bytes] | None = None
    coding, received, body = _coding_of(reply, what), 0, bytearray()
    try:
        async for chunk in reply.aiter_raw():
            received += len(chunk)
            if coding and decompress is None:
                # Some servers send deflate without the header of zlib.
                is_raw = coding == "deflate" and chunk[0] & 15 != zlib.DEFLATED
                bits = -zlib.MAX_WBITS if is_raw else _WINDOW_BITS[coding]
                decompress = zlib.decompressobj(bits).decompress
            body += decompress(chunk, MAX_ANSWER + 1 - len(body)) if decompress is not None else chunk
            if max(received, len(body)) > MAX_ANSWER:
                raise TransientFailure(f"the answer of {what} is larger than {MAX_ANSWER >> 20} MiB")
            # Many small chunks can be here already, and reading them does not wait.
            await anyio.lowlevel.checkpoint()
    except zlib.error:
        raise TransientFailure(f"the answer of {what} cannot be decompressed") from None
    return bytes(body)


def _coding_of(reply: httpx.Response, what: str) -> str:
    """The content coding; empty without one. Raises TransientFailure for an unknown one, and for several."""
    codings = [coding.lower() for coding in reply.headers.get_list("Content-Encoding", split_commas=True)]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return ""
    if len(codings) > 1 or codings[0] not in _WINDOW_BITS:
        shown = ", ".join(codings)[:40]
        raise TransientFailure(
            f"the answer of {what} has the content coding {shown!r}, and the proxy reads only gzip or deflate, once"
        )
    return codings[0]


def decode(body: bytes, kind: type[_T]) -> _T:
    """Decode a JSON body. Raises Unreadable."""
    try:
        return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises Unreadable."""
    try:
        return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None


def http_client(reach: NetworkReach) -> httpx.AsyncClient:
    """A client for the requests of one sign-in or renewal, which connects only within this reach."""
    return httpx.AsyncClient(timeout=REQUEST_TIME, transport=JudgedTransport(reach), follow_redirects=False)
