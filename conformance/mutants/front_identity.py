"""Mistakes about the client's description of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import client_info
from dynamic_mcp.upstream import handshake

if TYPE_CHECKING:
    from dynamic_mcp.protocol.peer import Peer
    from dynamic_mcp.upstream.base import Handshake


@mutant("FRONT-063")
def introduces_itself_to_servers() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    right = handshake.initialize

    async def wrong(
        peer: Peer, timeout: float, capabilities: bytes, client_info: bytes = b"", only: str = ""
    ) -> Handshake:
        return await right(peer, timeout, capabilities, only=only)

    replace(right, wrong)


@mutant("FRONT-064")
def introduces_itself_in_each_request() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    right = handshake.with_request_meta
    replace(
        right,
        lambda params, capabilities=b"{}", log_level=None, client_info=b"": right(
            params, capabilities, log_level
        ),
    )


@mutant("FRONT-065")
def passes_on_any_description() -> None:
    replace(client_info.client_info, bytes)
