"""Legitimate designs: tools that a proxy holds back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.mutants import legitimate, replace
from dynamic_mcp.upstream.http.mirrored import MirroredArguments
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from msgspec import Raw


@legitimate("SEC-010", "SEC-024")
def holds_back_tools_whose_schemas_refer_to_the_network() -> None:
    right = MirroredArguments.learn

    def problem(definition: Raw) -> str:
        found = re.search(rb'"\$ref":\s*"http', bytes(definition))
        return "its schema refers to the network" if found else ""

    replace(
        right,
        lambda self, tool, definition: problem(definition) or right(self, tool, definition),
    )
    replace(StdioUpstream.learn_tool, lambda self, name, definition: problem(definition))


@legitimate("HTTP-061")
def holds_back_tools_of_children_with_an_invalid_header_annotation() -> None:
    """A child gets no headers, so MCP lets a proxy ignore the annotation."""
    replace(
        StdioUpstream.learn_tool, lambda self, name, definition: MirroredArguments().learn(name, definition)
    )
