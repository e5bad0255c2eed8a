"""Headers that decide whether a request is served: where it was sent to, and, if it is modern, what its body says."""

import base64
import binascii
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from mock_servers.answers import VERSION_KEY, Json, Refused, meta_of

HEADER_MISMATCH = -32020
_NAMING = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

_LOCAL = ("127.0.0.1", "::1", "localhost")


def is_local(header: Callable[[str], str | None]) -> bool:
    """Was the request made to this machine by name, and by a page of it if by a page at all?"""
    origin = header("Origin")
    addresses = [f"//{header('Host') or ''}", *([] if origin is None else [origin])]
    return all(urlsplit(address).hostname in _LOCAL for address in addresses)


def mismatch(header: Callable[[str], str | None], message: Json) -> Refused | None:
    """Which header contradicts the message, or is missing; None = all is right."""
    method, params = message["method"], message.get("params")
    version = meta_of(message).get(VERSION_KEY)
    if version is None:
        return None  # there is nothing to compare with; what the body lacks is a refusal of its own
    wanted = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    if method in _NAMING and isinstance(params, dict):
        wanted["Mcp-Name"] = params.get(_NAMING[method])
    for name, value in wanted.items():
        sent = header(name)
        if sent is None or decoded(sent) != value:
            return Refused(HEADER_MISMATCH, f"Header mismatch: {name} is {sent!r}, the body says {value!r}")
    return None


def decoded(value: str) -> str | None:
    """What a header value stands for; None when it stands for nothing."""
    found = re.fullmatch(r"=\?base64\?(.*)\?=", value)
    if found is None:
        return value if value.isascii() else None
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
