"""Authorization servers and token endpoints that have moved since a sign-in.

Only metadata of the issuer of the tokens can name another token endpoint for them, and they have to pass the checks of a sign-in.
"""

from __future__ import annotations

import contextlib

import anyio
import httpx

from dynamic_mcp.config.model import HttpTransport, SseTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.issuer import is_same_issuer
from dynamic_mcp.oauth.metadata import Search, discover, resource_metadata, usable_server
from dynamic_mcp.oauth.own_headers import client_for
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.request import TransientFailure

#: Seconds for the search of another token endpoint.
SEARCH_TIME = 10.0


class IssuerReplaced(UpstreamFailed):
    """The server now names other authorization servers than the one that issued its tokens, which must not see them."""


async def has_other_issuer(
    transport: HttpTransport | SseTransport, reach: NetworkReach, issuer: str | None, challenge: Challenge
) -> bool:
    """Whether a server that sent this challenge names another authorization server. False if that is unknown."""
    if issuer is None:
        return False
    try:
        async with client_for(transport, reach) as http:
            found = await discover(http, transport.url.reveal(), challenge, transport.oauth)
    except UpstreamFailed:
        return False
    return found.published and not is_same_issuer(found.server.issuer, issuer)


async def endpoint_now(http: httpx.AsyncClient, transport: HttpTransport | SseTransport, issuer: str) -> str:
    """The token endpoint that this issuer names now. Raises IssuerReplaced, and UpstreamFailed if that is unknown."""
    with anyio.move_on_after(SEARCH_TIME):
        await _check_issuer(http, transport, issuer)
        return (await usable_server(http, [issuer], transport.oauth)).token_endpoint
    raise TransientFailure(f"its metadata did not come within {SEARCH_TIME:g} s")


async def _check_issuer(
    http: httpx.AsyncClient, transport: HttpTransport | SseTransport, issuer: str
) -> None:
    """Raises IssuerReplaced if the server names authorization servers, and not this one."""
    if transport.oauth.issuer is not None:
        return
    found = None
    with contextlib.suppress(UpstreamFailed):
        found = await resource_metadata(http, transport.url.reveal(), Challenge(), Search())
    named = [] if found is None else found.authorization_servers
    if named and not any(is_same_issuer(one, issuer) for one in named):
        raise IssuerReplaced("it has another authorization server now")
