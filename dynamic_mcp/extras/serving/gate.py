"""Who may come in: the names in ``Host``, the ``Origin``, and the token.

A page of the web can let a name of its own lead to this machine (DNS rebinding), so only the names of this proxy count (MCP 2025-11-25,
basic/transports, "Security Warning").
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.origin import is_loopback

if TYPE_CHECKING:
    from starlette.datastructures import Headers

_NAME = r"[A-Za-z0-9._~-]+"
#: The host of a ``Host`` header (RFC 9110, section 7.2), without the brackets of an IPv6 address.
_HOST = re.compile(rf"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>{_NAME}))(?::\d{{1,5}})?")
#: The origin of a page or of an application. ``null`` is that of every page in a sandbox (HTML Standard, "Origin"), so it tells nothing.
_ORIGIN = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://(?:\[[0-9A-Fa-f:.]+\]|{_NAME})(?::\d{{1,5}})?")
#: A name within ``localhost``, which can lead a browser to no other machine (RFC 6761, section 6.3).
_LOCAL = re.compile(r"(?:[a-z0-9_~-]+\.)+localhost")
#: Addresses that stand for all addresses of the machine.
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # compared only


def is_name(written: str) -> bool:
    """Whether a ``Host`` header can name this host, which has neither a scheme nor a port. An IPv6 address may have brackets."""
    if re.fullmatch(_NAME, written):
        return True
    try:
        return ipaddress.IPv6Address(written.removeprefix("[").removesuffix("]")).scope_id is None
    except ValueError:
        return False


def is_origin(written: str) -> bool:
    """Whether this is the origin of one page or application."""
    return _ORIGIN.fullmatch(written) is not None


class Gate:
    """Checks each request before anything else reads it."""

    def __init__(
        self, listen: str, names: Iterable[str], token: str | None, *, origins: Iterable[str] = ()
    ) -> None:
        """``listen`` is the address of the proxy, and ``names`` are further names of it. Without ``token``, a client needs none.

        ``origins`` are those of applications that are no pages of the proxy.
        """
        self._names = frozenset(name.lower().strip("[]") for name in (listen, *names)) - {*ANY_ADDRESS}
        self._origins = frozenset(origin.lower() for origin in origins)
        self._takes_loopback = is_loopback(listen) or listen in ANY_ADDRESS
        self._token = None if token is None else token.encode()

    def check(self, headers: Headers) -> None:
        """Raises RefusedRequest."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._knows(_host_of(hosts[0])):
            raise RefusedRequest(
                403, "the Host header names another machine; --allow-host adds a name", headers=_CLOSE
            )
        if not all(map(self._allows_origin, headers.getlist("origin"))):
            text = "the Origin header names another machine or an application; --allow-host or --allow-origin adds it"
            raise RefusedRequest(403, text, headers=_CLOSE)
        if self._token is not None:
            self._check_token(headers.getlist("authorization"), self._token)

    def _check_token(self, sent: list[str], token: bytes) -> None:
        scheme, _, value = (sent[0] if len(sent) == 1 else "").partition(" ")
        # The comparison takes the same time for every value, so its time tells nothing about the token.
        if not hmac.compare_digest(value.strip().encode(), token) or scheme.lower() != "bearer":
            error = ', error="invalid_token"' if sent else ""
            challenge = f'Bearer realm="dynamic-mcp"{error}'
            raise RefusedRequest(
                401,
                "this proxy needs its token: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": challenge, **_CLOSE},
            )

    def _allows_origin(self, origin: str) -> bool:
        return origin.lower() in self._origins or self._knows(_host_of_origin(origin))

    def _knows(self, host: str | None) -> bool:
        if host is None:
            return False
        is_local = is_loopback(host) or _LOCAL.fullmatch(host) is not None
        return host in self._names or (self._takes_loopback and is_local)


#: The body of a refused request is not read, so its connection ends.
_CLOSE = {"Connection": "close"}


def _host_of(header: str) -> str | None:
    found = _HOST.fullmatch(header)
    return found and (found["v6"] or found["name"]).lower()


def _host_of_origin(header: str) -> str | None:
    try:
        parts = urlsplit(header)
    except ValueError:
        return None
    return _host_of(parts.netloc) if parts.scheme in ("http", "https") and parts.netloc else None
