"""The errors of httpx in words for a user. Its own texts may have addresses, which may hold secrets."""

from __future__ import annotations

import os
import re
import ssl

import httpx

_NUMBER = re.compile(r"\[Errno (-?\d+)\]")


def cause_of(error: Exception) -> str:
    """What happened to a request that has no answer."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "it did not answer in time"
    if isinstance(error, httpx.ProxyError):
        return "the proxy of the environment refused to connect"
    if isinstance(error, httpx.ConnectError):
        return _no_connection(error)
    if isinstance(error, httpx.ProtocolError):
        return "its answer is not valid HTTP, or the connection was lost before it"
    if isinstance(error, httpx.InvalidURL | ValueError | httpx.UnsupportedProtocol):
        return "its address is not valid"
    if isinstance(error, httpx.DecodingError):
        return "its answer cannot be decompressed"
    return "the connection was lost before the answer was complete"


def _no_connection(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message or 'it cannot be verified'}"
        if isinstance(cause, ssl.SSLError):
            return f"the TLS connection failed: {cause.reason or 'no reason given'}"
        cause = cause.__cause__ or cause.__context__
    number = _NUMBER.search(str(error))
    if number is not None and int(number[1]) < 0:
        return "its name has no address"
    return "no connection came about" if number is None else os.strerror(int(number[1]))
