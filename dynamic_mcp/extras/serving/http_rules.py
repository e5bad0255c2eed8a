"""What RFC 9112 says about requests, and the HTTP library leaves to its user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dynamic_mcp.extras.serving.refused import RefusedRequest

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Scope

#: ``absolute-form`` of RFC 9112, section 3.2.2, without the query.
_ABSOLUTE = re.compile(rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)(?P<path>.*)")


def origin_form(scope: Scope) -> Scope:
    """The request as if its target was a path. Raises RefusedRequest for the address of another protocol.

    The host of an absolute address takes the place of the ``Host`` header (RFC 9112, section 3.2.2). So a later check of this header
    is a check of the host that counts.
    """
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    if found["scheme"].lower() not in (b"http", b"https"):
        text = "the address in the request line must begin with http:// or https://"
        raise RefusedRequest(400, text, headers={"Connection": "close"})
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    path = unquote(found["path"].decode("ascii")) or "/"
    return {**scope, "path": path, "headers": [(b"host", found["authority"]), *headers]}


def check_framing(headers: Headers) -> None:
    """Raises RefusedRequest for a body whose end is ambiguous, as in request smuggling (RFC 9112, section 6.1)."""
    if "content-length" in headers and "transfer-encoding" in headers:
        text = "a request has Content-Length or Transfer-Encoding, but not both"
        raise RefusedRequest(400, text, headers={"Connection": "close"})
