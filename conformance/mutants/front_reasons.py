"""Mistakes in explaining why something failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire
from conformance.mutants.other_words import saying
from dynamic_mcp.errors import UpstreamError, UpstreamTimeout
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Listing
from dynamic_mcp.oauth import metadata, registration
from dynamic_mcp.oauth.tokens import ClientRegistration
from dynamic_mcp.upstream.http import refusals

if TYPE_CHECKING:
    from typing import Any

    import httpx

    from dynamic_mcp.groups.listing import Kind


@mutant("FRONT-060")
def a_broken_group_has_empty_lists() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    right = Group.listing

    async def wrong(self: Group, kind: Kind, *more: Any, **options: Any) -> Listing:
        try:
            return await right(self, kind, *more, **options)
        except UpstreamError:
            if kind is TOOLS:
                raise
            return Listing()

    replace(right, wrong)


@mutant("FRONT-060")
def a_broken_group_has_no_tools() -> None:
    right = Group.listing

    async def wrong(self: Group, kind: Kind, *more: Any, **options: Any) -> Listing:
        try:
            return await right(self, kind, *more, **options)
        except UpstreamError:
            return Listing()

    replace(right, wrong)


@mutant("FRONT-061")
def opens_the_browser_for_any_401() -> None:
    """It takes a server without metadata for an authorization server that knows it."""

    async def wrong(*arguments: Any) -> ClientRegistration:
        return ClientRegistration("dynamic-mcp")

    replace(registration.register, wrong)


@mutant("FRONT-061")
def believes_in_an_authorization_server_without_metadata() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    right = metadata.server_of_origin

    async def wrong(http: httpx.AsyncClient, *more: Any) -> tuple[metadata.ServerMetadata, bool]:
        return (await right(http, *more))[0], True

    replace(right, wrong)


@mutant("FRONT-061", also={"HTTP-057": "its words are those of a refusal too"})
def keeps_the_words_of_a_refusal() -> None:
    replace(refusals.shown, lambda words, content_type, *hidden: "")


@mutant("FRONT-061")
def names_no_remedy_for_a_401() -> None:
    wire.to_client(
        saying("its 'headers' may lack a token or a key", "the server answered with HTTP 401 Unauthorized")
    )


@mutant("FRONT-062")
def names_no_setting() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    replace(UpstreamTimeout.by, lambda self, server, setting: self)


@mutant("FRONT-062")
def names_the_timeout_of_tools_for_everything() -> None:
    right = UpstreamTimeout.by
    replace(right, lambda self, server, setting: right(self, server, "tools"))
