"""Mistakes in deciding to which server stored tokens belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace
from dynamic_mcp import origin
from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.bound_store import BoundStore
from dynamic_mcp.oauth.fresh_tokens import FreshTokens

if TYPE_CHECKING:
    from dynamic_mcp.oauth.store import TokenStore
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("SEC-021")
def binds_tokens_to_the_origin() -> None:
    """This proxy did so up to version 1.1."""

    def wrong(self: Binding, tokens: Tokens) -> bool:
        return tokens.resource is not None and origin.origin_of(tokens.resource) == origin.origin_of(self.url)

    replace(Binding.fits, wrong)


@mutant("TOK-019")
def keeps_tokens_in_memory_by_the_name_of_their_server() -> None:
    """After a reload with another url, the first request to it has the old token."""
    right, keep, bearer = FreshTokens.__init__, FreshTokens.keep, FreshTokens.bearer
    names: dict[FreshTokens, str] = {}
    kept: dict[str, Tokens] = {}

    def remember(self: FreshTokens, server: str, *more: Any) -> None:
        right(self, server, *more)
        names[self] = server

    async def wrong_keep(self: FreshTokens, tokens: Tokens) -> None:
        await keep(self, tokens)
        kept[names[self]] = tokens

    async def wrong_bearer(self: FreshTokens) -> str | None:
        tokens = kept.get(names[self])
        return await bearer(self) if tokens is None or self.current is not None else tokens.access_token

    replace(right, remember)
    replace(keep, wrong_keep)
    replace(bearer, wrong_bearer)


@mutant("SEC-021")
def takes_a_final_slash_for_nothing() -> None:
    right = origin.identifier_of
    replace(right, lambda url: right(url.rstrip("/")))


@mutant("SEC-022")
def keeps_the_tokens_of_a_name_in_one_place() -> None:
    """This proxy did so up to version 1.1, and dmcp 1.5.0 does."""
    right = BoundStore.__init__

    def wrong(self: BoundStore, binding: Binding, named: TokenStore, own: TokenStore) -> None:
        right(self, binding, named, named)

    replace(right, wrong)
