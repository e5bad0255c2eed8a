"""Mistakes in what the proxy keeps of servers behind a URL, and of their sign-ins."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp.oauth import callback
from dynamic_mcp.upstream.http import library
from dynamic_mcp.upstream.http.client import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@mutant("OPS-010")
def listens_on_after_a_sign_in() -> None:
    right, kept = callback.listening, AsyncExitStack()

    @asynccontextmanager
    async def wrong(*place: Any, **more: Any) -> AsyncIterator[callback.Callback]:
        yield await kept.enter_async_context(right(*place, **more))

    replace(right, wrong)


@mutant("OPS-010")
def keeps_the_connections_of_changed_servers() -> None:
    kept: list[HttpClient] = []

    async def wrong(self: HttpClient) -> None:
        kept.append(self)

    replace(HttpClient.close, wrong)
    set_constant(library, "KEEP_ALIVE", 3600.0)
