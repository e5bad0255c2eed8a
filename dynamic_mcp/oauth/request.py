"""One request to an authorization server, and its answer as bytes.

However the server fails, the caller gets an answer or one kind of error: an address that cannot be used, an answer that does not
end, or nesting without bottom is the server's doing, and must not end the proxy. No text of the library is shown: it may hold
addresses. Redirects are not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import anyio
import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.tls import trusted

#: Seconds that one request may take, from the connection to the end of the answer.
REQUEST_TIME = 15.0
#: Bytes that an answer may have.
MAX_ANSWER = 1 << 20

_T = TypeVar("_T", bound=msgspec.Struct)


class TransientFailure(UpstreamFailed):
    """The authorization server could not answer now; nothing is known to be wrong with what it was asked for."""


class Unreadable(Exception):
    """The answer is not the JSON object that it should be."""


async def ask(
    http: httpx.AsyncClient,
    what: str,
    method: str,
    url: str,
    *,
    json: object = None,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> tuple[int, bytes]:
    """The status and body of the answer of ``what`` at ``url``. Raises TransientFailure, also for 408, 429 and 5xx."""
    auth = httpx.USE_CLIENT_DEFAULT if basic is None else httpx.BasicAuth(*basic)
    try:
        with anyio.fail_after(REQUEST_TIME):
            async with http.stream(
                method, url, json=json, data=form, auth=auth, headers={"Accept": "application/json"}
            ) as reply:
                status, body = reply.status_code, bytearray()
                async for chunk in reply.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise TransientFailure(f"the answer of {what} is larger than {MAX_ANSWER >> 20} MiB")
    # ValueError: names that DNS cannot hold, found out by the operating system's resolver.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
        raise TransientFailure(f"{what} cannot be reached ({type(error).__name__})") from None
    if status >= 500 or status in (408, 429):
        raise TransientFailure(f"{what} answered with HTTP {status}")
    return status, bytes(body)


def read(body: bytes, kind: type[_T]) -> _T:
    """The body as what it should be. Raises Unreadable."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None


def http_client() -> httpx.AsyncClient:
    """A client for the requests of one sign-in or renewal. Raises UpstreamFailed when the environment names an unusable proxy."""
    try:
        return httpx.AsyncClient(timeout=REQUEST_TIME, verify=trusted(), follow_redirects=False)
    except (ImportError, ValueError, httpx.InvalidURL):
        raise UpstreamFailed("the proxy that the environment names cannot be used for signing in") from None
