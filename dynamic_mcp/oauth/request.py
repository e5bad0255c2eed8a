"""One request to an authorization server, and its answer as bytes.

The caller gets one kind of error for every failure. An unusable address, an endless answer or endless nesting is the server's fault,
and must not end the proxy. No error contains the text of the library, which may contain addresses. The client follows no
redirects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import anyio
import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.judged import JudgedTransport
from dynamic_mcp.oauth.reach import Reach, TooInward

#: Seconds for one request, from the connection to the end of the answer.
REQUEST_TIME = 15.0
#: The largest answer in bytes.
MAX_ANSWER = 1 << 20

_T = TypeVar("_T", bound=msgspec.Struct)


class TransientFailure(UpstreamFailed):
    """The authorization server could not answer now. The same request may succeed later."""


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

    Raises TransientFailure, also for 408, 429 and 5xx, and UpstreamFailed for an address out of reach. The messages name ``what``.
    """
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
    except TooInward as refusal:
        raise UpstreamFailed(f"{what} {refusal}") from None
    # The resolver of the operating system raises ValueError for a name that is invalid in DNS.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
        raise TransientFailure(f"{what} cannot be reached ({type(error).__name__})") from None
    if status >= 500 or status in (408, 429):
        raise TransientFailure(f"{what} answered with HTTP {status}")
    return status, bytes(body)


def decode(body: bytes, kind: type[_T]) -> _T:
    """Decode a JSON body. Raises Unreadable."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable from None


def http_client(reach: Reach) -> httpx.AsyncClient:
    """A client for the requests of one sign-in or renewal, which connects only within this reach."""
    return httpx.AsyncClient(timeout=REQUEST_TIME, transport=JudgedTransport(reach), follow_redirects=False)
