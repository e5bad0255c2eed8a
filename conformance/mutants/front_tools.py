"""Mistakes in the two tools, and in what passes through them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import call, tools
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.groups import listing as listing_module
from dynamic_mcp.groups.listing import TOOLS, Kind, Listing
from dynamic_mcp.protocol import jsonrpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamic_mcp.config.model import Server
    from dynamic_mcp.upstream.base import Options, Upstream


@mutant("FRONT-009")
def upstream_tools_leak_into_the_surface() -> None:
    right = tools.Toolbox.list_tools

    def wrong(self: tools.Toolbox, params: Raw) -> bytes:
        right(self, params)
        shown = msgspec.json.decode(self.surface, type=list[Raw])
        for group in self._groups.values():
            shown += group._listings.get(TOOLS, {}).values()
        return msgspec.json.encode({"tools": shown})

    replace(right, wrong)


@mutant("FRONT-009")
def lists_the_groups_in_random_order() -> None:
    right = tools.surface_of

    def wrong(servers: Iterable[Server]) -> bytes:
        mixed = list(servers)
        random.shuffle(mixed)
        return right(mixed)

    replace(right, wrong)


@mutant("FRONT-010")
def writes_definitions_anew_from_three_fields() -> None:
    right = listing_module._add_page

    def wrong(listing: Listing, answer: bytes, kind: Kind) -> str | None:
        cursor = right(listing, answer, kind)
        for name, raw in listing.items() if kind is TOOLS else ():
            members = msgspec.json.decode(raw, type=dict[str, Raw])
            known = {key: members[key] for key in ("name", "description", "inputSchema") if key in members}
            listing[name] = Raw(msgspec.json.encode(known))
        return cursor

    replace(right, wrong)


@mutant("FRONT-010")
def drops_the_dialect_of_schemas() -> None:
    right = listing_module._add_page

    def wrong(listing: Listing, answer: bytes, kind: Kind) -> str | None:
        return right(
            listing, answer.replace(b'"$schema":"https://json-schema.org/draft/2020-12/schema",', b""), kind
        )

    replace(right, wrong)


@mutant("FRONT-011")
def fetches_the_first_page_only() -> None:
    right = listing_module._add_page

    def wrong(listing: Listing, answer: bytes, kind: Kind) -> str | None:
        right(listing, answer, kind)
        return None

    replace(right, wrong)


@mutant("FRONT-011")
def takes_an_empty_cursor_for_the_end() -> None:
    right = listing_module._add_page
    replace(right, lambda listing, answer, kind: right(listing, answer, kind) or None)


@mutant("FRONT-011")
def follows_a_repeated_cursor_for_ever() -> None:
    async def wrong(upstream: Upstream, kind: Kind, options: Options) -> Listing:
        listing: Listing = {}
        params = b""
        while kind.feature in upstream.agreed.capabilities:
            answer = await upstream.request(kind.method, params, options)
            cursor = listing_module._add_page(listing, answer, kind)
            if cursor is None:
                break
            params = msgspec.json.encode({"cursor": cursor})
        return listing

    replace(listing_module.list_all, wrong)


@mutant("FRONT-011")
def ignores_cursors_of_the_client() -> None:
    replace(call.refuse_cursor, lambda params: None)


@mutant("FRONT-012")
def drops_meta_of_results() -> None:
    _drop("_meta")


@mutant("FRONT-012")
def drops_structured_content() -> None:
    _drop("structuredContent")


def _drop(member: str) -> None:
    right = jsonrpc.result

    def wrong(id: bytes, value: bytes) -> bytes:
        members = msgspec.json.decode(value, type=dict[str, Raw])
        members.pop(member, None)
        return right(id, msgspec.json.encode(members))

    replace(right, wrong)


@mutant("FRONT-012")
def removes_null_arguments() -> None:
    right = Call.params

    def wrong(self: Call, members: dict[str, Raw]) -> bytes:
        arguments = msgspec.json.decode(members.get("arguments", Raw(b"{}")), type=dict[str, Raw])
        kept = {name: raw for name, raw in arguments.items() if bytes(raw) != b"null"}
        return right(self, {**members, "arguments": Raw(msgspec.json.encode(kept))})

    replace(right, wrong)


@mutant("FRONT-012")
def sends_missing_arguments_as_null() -> None:
    right = tools._as_object
    replace(right, lambda args: right(args) if args else b"null")


@mutant("FRONT-012")
def reads_numbers_as_floats() -> None:
    right = tools._as_object

    def wrong(args: Raw) -> bytes | None:
        value: Any = msgspec.json.decode(right(args) or b"{}")
        return msgspec.json.encode(value)

    replace(right, wrong)
