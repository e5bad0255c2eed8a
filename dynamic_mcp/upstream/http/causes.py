"""The errors of the HTTP library in words for a user. The texts of the library have addresses, which may hold secrets."""

from __future__ import annotations

import os
import re
import socket

import aiohttp

from dynamic_mcp.log import log

#: How an error of the library names a header line that is too long.
_TOO_LONG = re.compile(r"Got more than (\d+) bytes")
_NUMBER = re.compile(r"\[Errno (\d+)\]")


def is_unsent(error: Exception) -> bool:
    """Whether no connection came about, so that the server got nothing."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def is_unreadable(error: Exception) -> bool:
    """Whether the server answered with something that the library cannot read. Another request may work."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return False
    return isinstance(error, aiohttp.ClientResponseError) or _is_of_coding(error)


def cause_of(error: Exception, connect_timeout: float, readable: str) -> str:
    """What happened, and what to do if that is clear.

    ``connect_timeout`` is the time for a connection in seconds, and ``readable`` says which compressed answers the proxy reads.
    """
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError | TimeoutError):
        return _no_connection(error, connect_timeout)
    if _is_of_coding(error):
        return f"its answer cannot be decompressed; {readable}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy of the environment refused to connect (HTTP {error.status})"
    if isinstance(error, aiohttp.ClientResponseError):
        if too_long := _TOO_LONG.search(error.message):
            return f"a line in the head of its answer is longer than {too_long[1]} bytes"
        return "its answer is not valid HTTP; check the port of its url, and whether http:// or https:// is right"
    if isinstance(error, aiohttp.ClientPayloadError) and "chunk" in str(error.__cause__).lower():
        return "its answer is not valid HTTP: the size of a chunk is wrong"
    if isinstance(
        error, aiohttp.ClientPayloadError | aiohttp.ClientConnectionError | ConnectionError | OSError
    ):
        return "the connection was lost before the answer was complete"
    if isinstance(error, UnicodeError):
        return "the host in its url is no valid name: a part is empty, or longer than 63 characters"
    if isinstance(error, ValueError):
        return "its url, a header or a token has a character that no HTTP request can carry"
    log.debug("the HTTP library failed: %s", type(error).__name__)
    return "the HTTP library failed for an unknown reason"


def _is_of_coding(error: Exception) -> bool:
    """Whether a body cannot be decompressed. aiohttp has no type of its own for this error."""
    return isinstance(error, aiohttp.ClientError) and "content-encoding" in str(error).lower()


def _no_connection(error: Exception, connect_timeout: float) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
        return f"the server's certificate is not valid: {reason}"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"the TLS connection failed: {getattr(error.os_error, 'reason', None) or 'no reason given'}"
    if isinstance(error, aiohttp.ClientConnectorError):
        what = "the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else "the server"
        return f"{what} could not be reached: {_reason_of(error.os_error)}"
    return f"no connection to the server within {connect_timeout:g} s"


def _reason_of(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "its name has no address"
    # The text of an error of asyncio contains the address, and an error about several addresses has the numbers only in its text.
    numbers = (
        [error.errno] if error.errno is not None else [int(number) for number in _NUMBER.findall(str(error))]
    )
    return ", ".join(dict.fromkeys(map(os.strerror, numbers))) or error.strerror or "no reason given"
