"""Which redirects of a server the client follows, and which other addresses of it: those within its origin.

Servers redirect ``/mcp`` to ``/mcp/``. A redirect keeps the method and the body. Another origin gets nothing, because headers and messages
for one must not reach another.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit, urlunsplit

from dynamic_mcp.origin import origin_of

#: Redirects that one request follows.
MAX_REDIRECTS = 5
# A client may keep the method after 301 and 302 (RFC 9110, sections 15.4.2 and 15.4.3). 303 asks for another one.
_SAME_METHOD = frozenset({301, 302, 307, 308})


def target_of(url: str, status: int, location: str | None) -> str | None:
    """The address within the origin of ``url`` to which this reply redirects, or None. Credentials in ``url`` stay."""
    if status not in _SAME_METHOD or not location:
        return None
    try:
        return within_origin(url, location)
    except ValueError:
        return None


def within_origin(url: str, reference: str) -> str | None:
    """The address that a server at ``url`` names, with the credentials of ``url``; None if it has another origin.

    Raises ValueError if it is no address.
    """
    target = urljoin(url, reference)
    if origin_of(target) != origin_of(url):
        return None
    return urlunsplit(urlsplit(target)._replace(netloc=urlsplit(url).netloc, fragment=""))


def explain(url: str, status: int, location: str | None) -> str:
    """Why a redirect was not followed. The text names no more of the address than its origin."""
    try:
        scheme, host, port = origin_of(urljoin(url, location or ""))
        has_same_origin = (scheme, host, port) == origin_of(url)
    except ValueError:
        return f"it redirects to something that is no address (HTTP {status})"
    if has_same_origin:
        return f"it redirects in a way that a POST cannot follow (HTTP {status})"
    place = f"[{host}]" if ":" in host else host
    number = "" if port in (None, {"http": 80, "https": 443}.get(scheme)) else f":{port}"
    return (
        f"it redirects to another origin, {scheme}://{place[:100]}{number}, and nothing is sent there (HTTP {status}); "
        "if the server belongs there, configure that address as its url"
    )
