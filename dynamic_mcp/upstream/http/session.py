"""The session of a Streamable HTTP upstream, and its headers.

A server of a legacy revision may give a session id with its answer to ``initialize``; every later request repeats the id (MCP
2025-11-25, basic/transports, "Session Management"). A modern server has no session; headers repeat the method and name of each
message (MCP 2026-07-28, basic/transports/streamable-http, "Request Metadata").
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import Outgoing, decode_members
from dynamic_mcp.upstream.http.mirrored import ARGUMENT, MirroredArguments, header_value

#: Why a request of a session that the server has forgotten gets no answer.
ANSWER_FORGOTTEN = "the server has forgotten the session, and with it the answer"
_ACCEPT = "application/json, text/event-stream"


class HttpSession:
    """The session id and the protocol version; None while unknown."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.version: str | None = None
        #: changes with each new session, whose id may be that of an old one
        self.number = 0
        #: the arguments that the headers of a call to a modern server repeat
        self.mirrored = MirroredArguments()

    def headers(self) -> dict[str, str]:
        """Headers of any request."""
        headers = {"Accept": _ACCEPT}
        if self.version is not None:
            headers[era.VERSION_HEADER] = self.version
        if self.id is not None:
            headers[era.SESSION_HEADER] = self.id
        return headers

    def message_headers(self, message: Outgoing) -> dict[str, str]:
        """Headers of a POST with this message."""
        is_probe = message.method == "server/discover"
        # A probe may ask for the era while a session is open.
        common = {"Accept": _ACCEPT, era.VERSION_HEADER: era.MODERN} if is_probe else self.headers()
        headers = {"Content-Type": "application/json", **common}
        if headers.get(era.VERSION_HEADER) == era.MODERN and message.method is not None:
            headers["Mcp-Method"] = message.method
            name = _name_of(message)
            if name is not None:
                headers["Mcp-Name"] = name
            if message.method == "tools/call":
                headers |= self.mirrored.headers(message.params)
        return headers

    def has_other_arguments(self, message: Outgoing, headers: Mapping[str, str]) -> bool:
        """Whether a call that had these headers would now repeat other arguments in them."""
        return _arguments_in(self.message_headers(message)) != _arguments_in(headers)

    def stream_headers(self, last_id: str) -> dict[str, str]:
        """Headers of a GET; the stream resumes after the event ``last_id``, if that is not empty."""
        resumed = {"Last-Event-ID": last_id} if last_id else {}
        return {**self.headers(), "Accept": "text/event-stream", **resumed}


def _arguments_in(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(ARGUMENT)}


def _name_of(message: Outgoing) -> str | None:
    """The value of the ``Mcp-Name`` header (MCP 2026-07-28, basic/transports/streamable-http, "Value Encoding")."""
    key = era.NAME_MEMBERS.get(message.method or "")
    if key is None:
        return None
    return header_value(msgspec.json.decode(decode_members(message.params)[key], type=str))
