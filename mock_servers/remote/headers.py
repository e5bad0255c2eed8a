"""The headers of a modern request, which have to say what its body says."""

import base64
import binascii
import re
from collections.abc import Callable

from mock_servers.answers import VERSION_KEY, Json, Refused, meta_of

HEADER_MISMATCH = -32020
_NAMING = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def mismatch(header: Callable[[str], str | None], message: Json) -> Refused | None:
    """Which header contradicts the message, or is missing; None = all is right."""
    method, params = message["method"], message.get("params")
    wanted = {"MCP-Protocol-Version": meta_of(message).get(VERSION_KEY), "Mcp-Method": method}
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
