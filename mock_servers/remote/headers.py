"""Header checks: a local Host and Origin, and for a modern request, headers that match its body."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any
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


def mismatch(
    header: Callable[[str], str | None], message: Json, tools: list[dict[str, Any]]
) -> Refused | None:
    """The refusal of a header that contradicts the message, or is missing; None if all headers match.

    The headers of a call repeat the arguments that its definition in `tools` annotates with `x-mcp-header`.
    """
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
    if method == "tools/call" and isinstance(params, dict):
        return _unmirrored(header, params, tools)
    return None


def _unmirrored(
    header: Callable[[str], str | None], params: Json, tools: list[dict[str, Any]]
) -> Refused | None:
    schemas = [tool["inputSchema"] for tool in tools if tool.get("name") == params.get("name")]
    for path, name in (found for schema in schemas for found in annotated(schema)):
        value: Any = params.get("arguments")
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        sent = header(f"Mcp-Param-{name}")
        if isinstance(value, bool):
            value = str(value).lower()
        wanted = value if value is None or isinstance(value, str) else str(value)
        if (None if sent is None else decoded(sent)) != wanted:
            what = f"Header mismatch: Mcp-Param-{name} is {sent!r}, the body says {wanted!r}"
            return Refused(HEADER_MISMATCH, what)
    return None


def annotated(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path and the header name of each annotated property that a chain of properties reaches."""
    for name, part in schema.get("properties", {}).items():
        if isinstance(part, dict):
            if "x-mcp-header" in part:
                yield (*path, name), part["x-mcp-header"]
            yield from annotated(part, (*path, name))


def decoded(value: str) -> str | None:
    """The decoded header value; None if it is invalid."""
    found = re.fullmatch(r"=\?base64\?(.*)\?=", value)
    if found is None:
        return value if value.isascii() else None
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
