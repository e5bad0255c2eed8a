"""The address of a sign-in, as the user and the browser get it: a URL in ASCII, without characters that mean something elsewhere.

A server chooses the authorization endpoint. A terminal shows it, and a program of the user opens it, perhaps through a shell. So
everything that is not needed in a URL is percent-encoded, and a host that could be taken for another one is refused.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

from dynamic_mcp.errors import UpstreamFailed

#: The most characters of an address. Browsers and command lines take about as many.
MAX_ADDRESS = 16384

#: The most characters of an address in a message.
MAX_SHOWN = 200

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,252})|[0-9a-f:.]*:[0-9a-f:.]*")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def base_of(endpoint: str) -> str:
    """Scheme, host, port and path of an endpoint, in ASCII. Raises UpstreamFailed if they are not those of a web page."""
    try:
        parts = urlsplit(endpoint)
        netloc, host, port = parts.netloc, parts.hostname or "", parts.port
        if not host.isascii():
            host = _international(host)
    except ValueError:
        raise _unusable("cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise _unusable("is not https")
    # Programs disagree about where the host begins after these characters.
    if "@" in netloc or "\\" in netloc or not _HOST.fullmatch(host):
        raise _unusable("has no plain host")
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    path = quote(_LONE_PERCENT.sub("%25", parts.path), safe="/%:@=,+-._~", errors="replace")
    return f"{parts.scheme}://{place}{path}"


def checked(address: str) -> str:
    """The complete address, if it is safe to show and to open. Raises UpstreamFailed."""
    if len(address) > MAX_ADDRESS:
        raise _unusable(f"is longer than {MAX_ADDRESS} characters")
    return address


def shown(url: str) -> str:
    """An address for a message: without user, query and fragment, which may be secrets; printable, and not too long."""
    try:
        parts = urlsplit(url)
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
    except ValueError:
        return "an invalid address"
    return "".join(c for c in plain if c.isprintable())[:MAX_SHOWN]


def host_of(address: str) -> str:
    """The host of an address, to show it apart."""
    return urlsplit(address).hostname or ""


def _international(host: str) -> str:
    """A host with other letters, in ASCII. Raises ValueError."""
    import httpx

    try:
        return httpx.URL(f"https://{host}/").raw_host.decode("ascii")
    except httpx.InvalidURL as error:
        raise ValueError(host) from error


def _unusable(problem: str) -> UpstreamFailed:
    return UpstreamFailed(f"the address of its authorization endpoint {problem}")
