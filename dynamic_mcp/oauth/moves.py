"""Authorization servers and token endpoints that have moved since a sign-in.

Only metadata of the issuer of the tokens can name another token endpoint for them, and they have to pass the checks of a sign-in.
"""

from __future__ import annotations

import anyio
import httpx

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.issuer import is_same_issuer
from dynamic_mcp.oauth.metadata import Search, resource_metadata, usable_server
from dynamic_mcp.oauth.request import TransientFailure

#: Seconds for the search of another token endpoint.
SEARCH_TIME = 10.0


class IssuerReplaced(UpstreamFailed):
    """The server now names other authorization servers than the one that issued its tokens, which must not see them."""


async def names_other_issuer(
    http: httpx.AsyncClient, transport: RemoteTransport, issuer: str, challenge: Challenge
) -> bool:
    """Whether the server names authorization servers, and not this one. False if that is unknown.

    A server without resource metadata names none, also if its origin is an authorization server. If it has moved there, it refuses the
    renewed token too, and a sign-in follows.
    """
    if transport.oauth.issuer is not None:
        return False
    try:
        found = await resource_metadata(http, transport.url.reveal(), challenge, Search())
    except UpstreamFailed:
        return False
    named = [] if found is None else found.authorization_servers
    return bool(named) and not any(is_same_issuer(one, issuer) for one in named)


async def endpoint_now(http: httpx.AsyncClient, transport: RemoteTransport, issuer: str) -> str:
    """The token endpoint that this issuer names now. Raises IssuerReplaced, and UpstreamFailed if that is unknown."""
    with anyio.move_on_after(SEARCH_TIME):
        if await names_other_issuer(http, transport, issuer, Challenge()):
            raise IssuerReplaced("it has another authorization server now")
        return (await usable_server(http, [issuer], transport.oauth)).token_endpoint
    raise TransientFailure(f"its metadata did not come within {SEARCH_TIME:g} s")
