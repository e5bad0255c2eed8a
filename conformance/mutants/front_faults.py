"""Mistakes with the faults of one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend import catalog
from dynamic_mcp.frontend.router import Router
from dynamic_mcp.groups import listing
from dynamic_mcp.groups.listing import CHANGED
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.origin import is_web_address
from dynamic_mcp.protocol import nulls
from dynamic_mcp.upstream.http import json_body
from dynamic_mcp.upstream.http.replies import HttpRefusal, Replies

if TYPE_CHECKING:
    from dynamic_mcp.frontend.exchange import Handler
    from dynamic_mcp.frontend.router import Handlers
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
    right = ListingCache.invalidate

    def wrong(self: ListingCache, method: str) -> None:
        right(self, method)
        for kind in CHANGED.get(method, ()):
            # Private: only here does a list outlive its change.
            self._lists[kind].listing = None

    replace(right, wrong)


@mutant("FRONT-132")
def takes_only_an_error_with_its_id() -> None:
    right = Replies.deliver

    async def wrong(self: Replies, id: int | None, data: Line, *, refusal: HttpRefusal | None = None) -> bool:
        is_lost = (
            isinstance(data, bytes)
            and b'"error":' in data
            and b'"id":' not in data.replace(b'"id":null', b"")
        )
        return not is_lost and await right(self, id, data, refusal=refusal)

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
    # Private: only here does a method depend on what the client was told.
    right = Router._handler

    def wrong(self: Router, handlers: Handlers, method: str) -> Handler:
        session = self._session
        told, session.announced = session.announced, frozenset()
        try:
            return right(self, handlers, method)
        finally:
            session.announced = told

    replace(right, wrong)
