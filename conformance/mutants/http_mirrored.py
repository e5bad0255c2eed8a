"""Mistakes with arguments that repeat in headers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire_http
from dynamic_mcp.groups.group import Group
from dynamic_mcp.upstream.http.mirrored import MirroredArguments

if TYPE_CHECKING:
    from msgspec import Raw

    from conformance.mutants.wire_http import ProxyRequest
    from dynamic_mcp.errors import HeadersRefused

_PREFIX = "Mcp-Param-"


@mutant("HTTP-060", also=dict.fromkeys(("HTTP-061", "HTTP-062"), "its server wants such a header"))
def repeats_no_arguments() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    replace(MirroredArguments.headers, lambda self, params: {})


@mutant("HTTP-060")
def encodes_no_arguments() -> None:
    """Line breaks become blanks, because the HTTP library refuses them."""

    def wrong(request: ProxyRequest) -> None:
        for name, value in list(request.headers.items()):
            if name.startswith(_PREFIX):
                encoded = value.removeprefix("=?base64?").removesuffix("?=")
                text = value if encoded == value else base64.b64decode(encoded).decode()
                request.headers[name] = " ".join(text.split())

    wire_http.change_requests(wrong)


@mutant("HTTP-060")
def sends_an_empty_header_for_a_missing_argument() -> None:
    right = MirroredArguments.headers

    def wrong(self: MirroredArguments, params: bytes) -> dict[str, str]:
        empty = {f"{_PREFIX}{name}": "" for name in ("Text", "Count", "Flag", "Time-Zone")}
        return empty | right(self, params)

    replace(right, wrong)


@mutant("HTTP-061")
def lists_every_tool_whatever_its_annotations() -> None:
    right = MirroredArguments.learn

    def wrong(self: MirroredArguments, tool: str, definition: Raw) -> str:
        right(self, tool, definition)
        return ""

    replace(right, wrong)


@mutant("HTTP-062")
def takes_a_mismatch_for_the_answer() -> None:
    async def wrong(self: Group, refusal: HeadersRefused) -> bool:
        return False

    # Private: only here does a mismatch lead to another list.
    replace(Group._learns_other_headers, wrong)
