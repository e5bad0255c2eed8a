"""Origins of addresses (RFC 6454, section 4), and checks for plain text and credentials in an address.

Data for one origin must not reach another origin, and others can read plain text that leaves this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

#: What is wrong with a url that is no web address.
NO_WEB_ADDRESS = "is not an address of http or https; write it as in https://host/path"

#: Characters of one part of the name of a host.
_MAX_PART = 63
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


def origin_of(url: str) -> tuple[str, str, int | None]:
    """The origin of an address: scheme, host and port (RFC 6454, section 4). Raises ValueError for an invalid address."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def identifier_of(url: str) -> tuple[tuple[str, str, int | None], str, str]:
    """Origin, path and query of a resource; a bare origin may end with a slash. Raises ValueError for an invalid address."""
    parts = urlsplit(url)
    return origin_of(url), "" if parts.path == "/" else parts.path, parts.query


def is_loopback(host: str) -> bool:
    """Whether this host of ``urlsplit`` is this machine."""
    return _LOOPBACK.fullmatch(host) is not None


def is_web_address(url: str) -> bool:
    """Whether this is an address of http or https with a host, whose parts are not too long (RFC 1035, section 2.3.4)."""
    try:
        scheme, host, _ = origin_of(url)
    except ValueError:
        return False
    parts = host.removesuffix(".").split(".")
    return (
        scheme in ("http", "https")
        and all(0 < len(part) <= _MAX_PART for part in parts)
        and not any(map(str.isspace, host))
    )


def is_plain(url: str) -> bool:
    """Whether others can read what is sent to this address: http, and not to this machine."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and not is_loopback(parts.hostname or "")
    except ValueError:
        return False


def has_credentials_twice(url: str, headers: Iterable[str]) -> bool:
    """Whether both the address (RFC 3986, section 3.2.1) and an Authorization header have credentials; only one can be sent."""
    try:
        in_url = "@" in urlsplit(url).netloc
    except ValueError:
        return False
    return in_url and any(name.lower() == "authorization" for name in headers)


def without_user(url: str) -> str:
    """The address without its credentials. Raises ValueError for an invalid address."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
