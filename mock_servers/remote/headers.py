"""Header checks: a local Host and Origin, and for a modern request, headers that match its body."""

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
    """Whether Host names this machine, and Origin too if the request has one."""
    origin = header("Origin")
    addresses = [f"//{header('Host') or ''}", *([] if origin is None else [origin])]
    return all(urlsplit(address).hostname in _LOCAL for address in addresses)


def mismatch(header: Callable[[str], str | None], message: Json) -> Refused | None:
    """The refusal of a header that contradicts the message, or is missing; None if all headers match."""
    method, params = message["method"], message.get("params")
    version = meta_of(message).get(VERSION_KEY)
    if version is None:
        return None  # nothing to compare with; `Answers.envelope_problem` refuses this message
    required = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    if method in _NAMING and isinstance(params, dict):
        required["Mcp-Name"] = params.get(_NAMING[method])
    for name, value in required.items():
        sent = header(name)
        if sent is None or decoded(sent) != value:
            return Refused(HEADER_MISMATCH, f"Header mismatch: {name} is {sent!r}, the body says {value!r}")
    return None


def decoded(value: str) -> str | None:
    """The decoded header value; None if it is invalid."""
    found = re.fullmatch(r"=\?base64\?(.*)\?=", value)
    if found is None:
        return value if value.isascii() else None
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
