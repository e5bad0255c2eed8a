"""Mistakes in judging where a server leads the proxy."""

from __future__ import annotations

from conformance.mutants import mutant, replace
from dynamic_mcp.oauth import reach
from dynamic_mcp.oauth.reach import NetworkReach


@mutant("SEC-014")
def goes_wherever_it_is_led() -> None:
    async def wrong(self: NetworkReach, host: str, port: int | None) -> list[str]:
        return await reach.resolve(host, port)

    replace(NetworkReach.addresses, wrong)


@mutant("SEC-014")
def compares_the_text_of_addresses() -> None:
    """Every other spelling of a loopback address is missing in the list."""
    right = NetworkReach.addresses

    async def wrong(self: NetworkReach, host: str, port: int | None) -> list[str]:
        if host in ("127.0.0.1", "::1", "localhost"):
            return await right(self, host, port)
        return await reach.resolve(host, port)

    replace(right, wrong)
