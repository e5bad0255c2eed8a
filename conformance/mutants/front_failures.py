"""Mistakes in telling the client what went wrong."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    codes,
    errors,
    results_of,
)
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config, StdioTransport
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.upstream.base import Upstream


@mutant("FRONT-013")
def calls_every_failure_of_a_modern_client_a_success() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        request = way.request_of(message)
        if not wire.is_modern(request) or not (message.get("result") or {}).get("isError"):
            return message
        return {**message, "result": {**message["result"], "isError": False}}

    wire.to_client(wrong)


@mutant(
    "FRONT-013",
    also={
        "FRONT-012": "a failure that the upstream reports changes too",
        **dict.fromkeys(("FRONT-015", "FRONT-110"), "a wrong address is reported in the same way"),
        "FRONT-115": "wrong arguments are reported in the same way",
        "FRONT-016": "the call to the failed group looks like a success that no upstream gave",
        **dict.fromkeys(("HTTP-016", "HTTP-030"), "the client gets no error for a bad reply"),
        "FRONT-031": "an input request without a translation is reported in the same way",
        **dict.fromkeys(
            (
                "FRONT-066",
                "FRONT-067",
                "FRONT-072",
                "CFG-015",
                "CFG-041",
                "HARD-012",
                "HARD-013",
                "HTTP-061",
                "SEC-015",
            ),
            "a refused call looks like a success that no upstream gave",
        ),
        **dict.fromkeys(
            ("FRONT-060", "CFG-035", "CFG-050"), "a group that is not available is reported in the same way"
        ),
        **dict.fromkeys(
            ("FRONT-095", "HTTP-019", "HTTP-023", "HTTP-057"),
            "the client gets no error for a call that failed",
        ),
    },
)
def puts_is_error_into_the_content() -> None:
    """The first content block has `isError`, instead of the result. dmcp 1.5.0 behaves like this."""

    def wrong(result: Message) -> Message:
        if not result.get("isError"):
            return result
        first, *others = result["content"]
        return {"content": [{**first, "isError": True}, *others]}

    wire.to_client(results_of("tools/call", wrong))


@mutant(
    "FRONT-014",
    also={
        "FRONT-169": "the code of the other era is lost too",
        **dict.fromkeys(("FRONT-060", "FRONT-093"), "the reason of the upstream is lost too"),
    },
)
def turns_upstream_errors_into_internal_errors() -> None:
    wire.from_stdio_upstreams(errors(lambda error: {"code": INTERNAL_ERROR, "message": "Internal error"}))


@mutant("FRONT-014")
def a_refused_read_is_a_missing_resource() -> None:
    wire.from_stdio_upstreams(
        errors(lambda error: {"code": INVALID_PARAMS, "message": "Resource not found"}, "resources/read")
    )


@mutant("FRONT-014")
def keeps_only_the_message_of_a_refused_prompt() -> None:
    wire.from_stdio_upstreams(
        errors(lambda error: {"code": INTERNAL_ERROR, "message": error["message"]}, "prompts/get")
    )


@mutant(
    "FRONT-045",
    also=dict.fromkeys(
        ("FRONT-025", "FRONT-028", "FRONT-169"),
        "every bad parameter has that code",
    ),
)
def calls_a_bad_address_an_unknown_method() -> None:
    wire.to_client(codes({INVALID_PARAMS: METHOD_NOT_FOUND}))


@mutant("FRONT-015")
def a_bad_address_is_an_empty_success() -> None:
    def wrong(result: Message) -> Message:
        is_bad = result.get("isError") and result["content"][0]["text"].startswith("Unknown group")
        return {"content": []} if is_bad else result

    wire.to_client(results_of("tools/call", wrong))


@mutant("FRONT-015")
def passes_a_call_without_a_name_on() -> None:
    """Before it refuses the call."""

    def wrong(message: Message, way: wire.Way) -> wire.Changed:
        params = message.get("params") or {}
        if (
            params.get("name") == CALL
            and "group" in params["arguments"]
            and "name" not in params["arguments"]
        ):
            for upstream in wire.to_stdio_upstreams.ways:
                upstream.send({**message, "id": "a copy", "params": {"name": "", "arguments": {}}})
        return message

    wire.to_stdio_upstreams.watch()
    wire.from_client(wrong)


@mutant("FRONT-015")
def takes_the_beginning_of_a_group_for_the_group() -> None:
    _guess(lambda group, name, tools: (next((one for one in tools if one.startswith(group)), group), name))


@mutant("FRONT-015", also={"FRONT-070": "a tool that is not listed yet is called in another group"})
def calls_a_tool_of_any_group_if_its_own_has_none() -> None:
    def wrong(group: str, name: str, tools: Mapping[str, set[str]]) -> tuple[str, str]:
        owners = [other for other, names in tools.items() if name in names]
        return (owners[0], name) if owners and tools.get(group) and group not in owners else (group, name)

    _guess(wrong)


@mutant("FRONT-015")
def finds_tools_by_their_names_in_any_letters() -> None:
    def wrong(group: str, name: str, tools: Mapping[str, set[str]]) -> tuple[str, str]:
        alike = (one for one in tools.get(group, ()) if one.lower() == name.lower())
        return group, next(alike, name)

    _guess(wrong)


def _guess(change: Callable[[str, str, Mapping[str, set[str]]], tuple[str, str]]) -> None:
    """Change the address of each call of a tool; `change` gets the group, the name, and the tools that each group has listed."""
    # Private, because nothing public knows the address of a call before the tool is found.
    right = Toolbox._call

    async def wrong(self: Toolbox, parsed: Any, call: Any) -> bytes:
        tools = {name: {*(group.last_names(TOOLS) or ())} for name, group in self._groups.items()}
        parsed.group, parsed.name = change(parsed.group, parsed.name, tools)
        return await right(self, parsed, call)

    replace(right, wrong)


@mutant("FRONT-016", also={"FRONT-060": "one of its groups is hidden"})
def hides_groups_whose_command_does_not_exist() -> None:
    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        loaded = load(path, environment)
        there = [
            server
            for server in loaded.servers
            if not isinstance(server.transport, StdioTransport)
            or not os.path.isabs(server.transport.command)
            or shutil.which(server.transport.command)
        ]
        return msgspec.structs.replace(loaded, servers=tuple(there))

    replace(load, wrong)


@mutant("FRONT-016", also={"FRONT-004": "one of its groups stays away"})
def lets_calls_wait_until_a_failed_group_is_back() -> None:
    async def wrong(self: Group) -> tuple[Group, Upstream]:
        while self.upstream is None:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        return self, self.upstream

    replace(Group.live, wrong)
