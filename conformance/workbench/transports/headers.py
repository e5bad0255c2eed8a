"""The headers of a POST: the session of the legacy era, or what MCP 2026-07-28 repeats of a message's body.

Source: MCP 2025-11-25, basic/transports, Streamable HTTP; MCP 2026-07-28, basic/transports/streamable-http, Request Metadata, Value
Encoding, and Custom Headers from Tool Parameters.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from mock_servers.answers import VERSION_KEY, meta_of
from mock_servers.remote.headers import annotated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conformance.workbench.transcript import Json

SESSION = "Mcp-Session-Id"
VERSION = "MCP-Protocol-Version"
LAST_EVENT = "Last-Event-ID"
STREAM = "text/event-stream"
JSON = "application/json"
#: the first version that has the header `MCP-Protocol-Version`
_FIRST_WITH_VERSION = "2025-06-18"
_NAMING = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ENCODED = re.compile(r"=\?base64\?.*\?=")


def session_headers(session: str | None, version: str | None) -> dict[str, str]:
    """The headers of each request in a legacy session, as far as the client knows its id and its version.

    An id or a version that no header can have is left out.
    """
    headers = {} if session is None or not _fits(session) else {SESSION: session}
    if version is not None and version >= _FIRST_WITH_VERSION and _fits(version):
        headers[VERSION] = version
    return headers


def resuming(headers: Mapping[str, str], last_id: str | None) -> dict[str, str]:
    """The headers of a GET that goes on after the event with this id. `headers` are those of the session."""
    last = {LAST_EVENT: last_id} if last_id and _fits(last_id) else {}
    return {"Accept": STREAM, **headers, **last}


def _fits(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not any(character < " " or character == "\x7f" for character in value)


def modern_version(message: Json) -> str | None:
    """The version that a message of the modern era names; None for a legacy message."""
    version = meta_of(message).get(VERSION_KEY)
    return version if isinstance(version, str) else None


def modern_headers(message: Json, tools: Mapping[str, Json]) -> dict[str, str]:
    """The headers that repeat a modern message. `tools` are the definitions that the client knows, by name."""
    method, params = message.get("method"), message.get("params")
    headers = {VERSION: modern_version(message) or "", "Mcp-Method": _encoded(method)}
    if not isinstance(method, str) or not isinstance(params, dict):
        return headers
    name = params.get(_NAMING.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = _encoded(name)
    if method == "tools/call" and isinstance(name, str):
        headers |= {f"Mcp-Param-{header}": value for header, value in _mirrored(params, tools.get(name, {}))}
    return headers


def _mirrored(params: Json, tool: Json) -> Iterable[tuple[str, str]]:
    schema = tool.get("inputSchema")
    for path, header in annotated(schema) if isinstance(schema, dict) else ():
        value: Any = params.get("arguments")
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, bool):
            yield header, str(value).lower()
        elif isinstance(value, str | int | float):
            yield header, _encoded(value)


def _encoded(value: Any) -> str:
    """The value as a header can carry it."""
    text = value if isinstance(value, str) else str(value)
    if _PLAIN.fullmatch(text) and not _ENCODED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode(errors='replace')).decode()}?="
