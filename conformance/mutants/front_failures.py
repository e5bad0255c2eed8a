"""Mistakes in telling the client what went wrong."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio
import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp import config
from dynamic_mcp.config.model import Config, StdioTransport
from dynamic_mcp.errors import UpstreamRefused
from dynamic_mcp.frontend import tools
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dynamic_mcp.frontend.call import Call
    from dynamic_mcp.upstream.base import Upstream


@mutant(
    "FRONT-013",
    also={
        "FRONT-015": "what names nobody is reported in the same way",
        "FRONT-031": "what cannot be translated is reported in the same way",
    },
)
def puts_is_error_into_the_content() -> None:
    def wrong(text: str) -> bytes:
        return msgspec.json.encode({"content": [{"type": "text", "text": text, "isError": True}]})

    replace(tools.failure, wrong)


@mutant("FRONT-014", also={"FRONT-031": "the code of the other era is lost too"})
def turns_upstream_errors_into_internal_errors() -> None:
    right = UpstreamRefused.__init__

    def wrong(self: UpstreamRefused, error: bytes) -> None:
        right(self, b'{"code":-32603,"message":"Internal error"}')

    replace(right, wrong)


@mutant("FRONT-014")
def a_refused_read_is_a_missing_resource() -> None:
    right = Catalog.read

    async def wrong(self: Catalog, call: Call) -> bytes:
        try:
            return await right(self, call)
        except UpstreamRefused:
            raise Refusal(jsonrpc.INVALID_PARAMS, "Resource not found") from None

    replace(right, wrong)


@mutant("FRONT-014")
def keeps_only_the_message_of_a_refused_prompt() -> None:
    right = Catalog.get_prompt

    async def wrong(self: Catalog, call: Call) -> bytes:
        try:
            return await right(self, call)
        except UpstreamRefused as refusal:
            raise Refusal(jsonrpc.INTERNAL_ERROR, refusal.text) from None

    replace(right, wrong)


@mutant(
    "FRONT-015",
    also=dict.fromkeys(
        ("FRONT-011", "FRONT-018", "FRONT-019", "FRONT-025", "FRONT-028", "FRONT-031"),
        "every bad parameter has that code",
    ),
)
def calls_a_bad_address_an_unknown_method() -> None:
    replace(jsonrpc.INVALID_PARAMS, jsonrpc.METHOD_NOT_FOUND)


@mutant(
    "FRONT-015", also=dict.fromkeys(("FRONT-013", "FRONT-016", "FRONT-031"), "every failure of a call is one")
)
def a_bad_address_is_an_empty_success() -> None:
    replace(tools.failure, lambda text: b'{"content":[]}')


@mutant("FRONT-016")
def hides_groups_whose_command_does_not_exist() -> None:
    right = config.load

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        loaded = right(path, environment)
        there = [
            server
            for server in loaded.servers
            if not isinstance(server.transport, StdioTransport) or shutil.which(server.transport.command)
        ]
        return msgspec.structs.replace(loaded, servers=tuple(there))

    replace(right, wrong)


@mutant("FRONT-016", also={"FRONT-004": "one of its groups stays away"})
def lets_calls_wait_until_a_failed_group_is_back() -> None:
    async def wrong(self: Group) -> Upstream:
        while self._upstream is None:  # noqa: ASYNC110
            await anyio.sleep(0.1)
        return self._upstream

    replace(Group.connected, wrong)
