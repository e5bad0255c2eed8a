"""Mistakes with the faults of one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend import catalog
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups import listing
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.origin import is_web_address
from dynamic_mcp.protocol import nulls
from dynamic_mcp.upstream.http import json_body
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.groups.listing import Kind, Listing
    from dynamic_mcp.protocol.pieces import Line


@mutant("FRONT-130")
def takes_null_for_a_broken_list() -> None:
    def wrong(found: Listing, kind: Kind) -> Listing:
        if not found and found.cut:
            raise UpstreamFailed(f"nothing in its {kind.method} can be used: {found.cut}")
        return found

    replace(listing.usable, wrong)


@mutant("FRONT-131")
def forgets_a_list_at_its_change() -> None:
    # Private: only here does a list outlive its change.
    replace(ListingCache._last, lambda self, kind: self._listings.get(kind))


@mutant("FRONT-132")
def takes_only_an_error_with_its_id() -> None:
    # Private: only here does a reply become an answer.
    right = StreamableHttpUpstream._deliver

    async def wrong(
        self: StreamableHttpUpstream, id: int | None, data: Line, *, is_refusal: bool = False
    ) -> bool:
        has_id = isinstance(data, bytes) and b'"id":' in data.replace(b'"id":null', b"")
        return has_id and await right(self, id, data, is_refusal=is_refusal)

    replace(right, wrong)


@mutant("FRONT-133")
def reads_no_page() -> None:
    # Private: the types of bodies that may hold JSON.
    json_body._UNSPECIFIC = json_body._UNSPECIFIC - {"text/html"}


@mutant("CFG-050")
def asks_any_address() -> None:
    replace(is_web_address, lambda url: True)


@mutant("FRONT-134")
def passes_the_nulls_of_definitions_on() -> None:
    # Private: only here does a definition of a resource or prompt change.
    replace(catalog._valid, lambda definition, kind: definition)


@mutant("FRONT-134")
def keeps_arguments_that_are_null() -> None:
    # Private: the optional members of MCP.
    nulls._OPTIONAL = nulls._OPTIONAL - {"arguments"}


@mutant("FRONT-135")
def knows_only_the_capabilities_of_now() -> None:
    right = ClientSession.__init__

    def wrong(self: ClientSession, send: Callable[[bytes], None], *, is_one_of_many: bool = False) -> None:
        right(self, send, is_one_of_many=is_one_of_many)
        self.__class__ = _Forgetful

    replace(right, wrong)


class _Forgetful(ClientSession):
    """A session that does not keep what the client was told."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, frozenset() if name == "announced" else value)
