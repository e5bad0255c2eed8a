"""Mistakes of a proxy with a flat face, which the checks must also see there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire
from conformance.mutants.design_faces import shows_each_tool_with_its_server_first
from conformance.mutants.http_mirrored import lists_every_tool_whatever_its_annotations
from conformance.mutants.wire import results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message

_ALSO = {"FRONT-048": "it shows no definition of the tool"}


@mutant("FRONT-010", also=_ALSO, design=shows_each_tool_with_its_server_first)
def a_flat_list_leaves_out_tools_with_definitions_in_their_schema() -> None:
    _change_tools(lambda tools: [tool for tool in tools if not _has_definitions(tool)])


@mutant("FRONT-010", also=_ALSO, design=shows_each_tool_with_its_server_first)
def a_flat_list_renames_tools_with_definitions_in_their_schema() -> None:
    """A name can get a number when it is in use; here it always does."""
    _change_tools(
        lambda tools: [
            {**tool, "name": f"{tool['name']}_2"} if _has_definitions(tool) else tool for tool in tools
        ]
    )


@mutant(
    "FRONT-011",
    also={"FRONT-170": "it takes every cursor for the end"},
    design=shows_each_tool_with_its_server_first,
)
def a_flat_list_has_the_first_page_of_each_server_only() -> None:
    wire.from_stdio_upstreams(
        results_of(
            "tools/list", lambda result: {name: result[name] for name in result if name != "nextCursor"}
        )
    )


@mutant("HTTP-061", design=shows_each_tool_with_its_server_first)
def a_flat_list_has_tools_with_invalid_annotations() -> None:
    lists_every_tool_whatever_its_annotations()


def _change_tools(change: Callable[[list[Message]], list[Message]]) -> None:
    wire.to_client(results_of("tools/list", lambda result: {**result, "tools": change(result["tools"])}))


def _has_definitions(tool: Message) -> bool:
    return "$defs" in tool["inputSchema"]
