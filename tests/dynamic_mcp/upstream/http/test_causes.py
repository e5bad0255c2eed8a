"""Every error of the HTTP library has words for a user, without the name of a class and without the text of the library."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import http_exceptions
from yarl import URL

from dynamic_mcp.upstream.http.causes import cause_of

SECRET = "s3cr3t"
_KEY: Any = SimpleNamespace(host=SECRET, port=1, ssl=True, is_ssl=True)
_REQUEST: Any = SimpleNamespace(real_url=URL(f"http://{SECRET}/"))


def response_error(kind: type[aiohttp.ClientResponseError], message: str = SECRET) -> Exception:
    return kind(_REQUEST, (), status=407, message=message)


def payload_error(cause: Exception) -> Exception:
    error = aiohttp.ClientPayloadError(SECRET)
    error.__cause__ = cause
    return error


def several(*numbers: int) -> OSError:
    """The error for a name with several addresses (``aiohappyeyeballs``)."""
    return OSError("Multiple exceptions: " + ", ".join(f"[Errno {number}] {SECRET}" for number in numbers))


NO_HTTP = "its answer is not valid HTTP"
CASES = [
    (
        aiohttp.ClientConnectorError(_KEY, several(errno.ECONNREFUSED)),
        "the server could not be reached: Connection refused",
    ),
    (
        aiohttp.ClientConnectorError(_KEY, several(errno.ECONNREFUSED, errno.ENETUNREACH)),
        "the server could not be reached: Connection refused, Network is unreachable",
    ),
    (aiohttp.ClientConnectorError(_KEY, OSError(SECRET)), "the server could not be reached: no reason given"),
    (
        aiohttp.ClientConnectorDNSError(_KEY, socket.gaierror(-2, "Name or service not known")),
        "Name or service not known",
    ),
    (
        aiohttp.ClientProxyConnectionError(_KEY, OSError(errno.ECONNREFUSED, SECRET)),
        "the proxy could not be reached",
    ),
    (aiohttp.ConnectionTimeoutError(SECRET), "no connection to the server within 10 s"),
    (
        response_error(aiohttp.ClientHttpProxyError),
        "the proxy of the environment refused to connect (HTTP 407)",
    ),
    (response_error(aiohttp.ClientResponseError), NO_HTTP),
    (
        response_error(aiohttp.ClientResponseError, f"Got more than 8190 bytes ({SECRET})"),
        "longer than 8190 bytes",
    ),
    (
        response_error(aiohttp.ClientResponseError, "Can not decode content-encoding: br"),
        "cannot be decompressed; x",
    ),
    (payload_error(http_exceptions.TransferEncodingError(f"Bad chunk {SECRET}")), NO_HTTP),
    (payload_error(http_exceptions.ContentLengthError(SECRET)), "the connection was lost"),
    (aiohttp.ServerDisconnectedError(SECRET), "the connection was lost"),
    (aiohttp.ClientOSError(errno.EPIPE, SECRET), "the connection was lost"),
    (aiohttp.ClientConnectionError(SECRET), "the connection was lost"),
    (ConnectionResetError(SECRET), "the connection was lost"),
    (aiohttp.InvalidURL(SECRET), "its url, a header or a token has a character"),
    (ValueError(SECRET), "its url, a header or a token has a character"),
    (UnicodeError(SECRET), "longer than 63 characters"),
    (RuntimeError(SECRET), "the HTTP library failed for an unknown reason"),
]


@pytest.mark.parametrize(("error", "says"), CASES, ids=lambda value: type(value).__name__)
def test_error_has_plain_words(error: Exception, says: str) -> None:
    text = cause_of(error, 10.0, "x")
    assert says in text
    assert SECRET not in text
    assert "Error" not in text


def _errors(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _errors(below)


@pytest.mark.parametrize("kind", sorted(set(_errors(aiohttp.ClientConnectionError)), key=str))
def test_every_error_of_a_connection_has_a_known_reason(kind: type[Exception]) -> None:
    # The library makes some of them only with arguments of its own.
    error = kind.__new__(kind)
    if isinstance(error, aiohttp.ClientConnectorError):
        error._conn_key, error._os_error = _KEY, OSError(errno.ECONNREFUSED, SECRET)
        error._certificate_error = ValueError(SECRET)  # type: ignore[attr-defined]
    text = cause_of(error, 10.0, "x")
    assert "unknown reason" not in text
    assert SECRET not in text
