"""Tokens for a machine without a person: the client credentials grant (RFC 6749, section 4.4).

MCP extension ``io.modelcontextprotocol/oauth-client-credentials`` (SEP-1046).
"""

from __future__ import annotations

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.configured import configured_client, named_resource
from dynamic_mcp.oauth.metadata import discover
from dynamic_mcp.oauth.scopes import wanted_scope
from dynamic_mcp.oauth.sign_in_request import SignInRequest
from dynamic_mcp.oauth.token_endpoint import request_tokens
from dynamic_mcp.oauth.tokens import Tokens


async def obtain(http: httpx.AsyncClient, request: SignInRequest, challenge: Challenge) -> Tokens:
    """New tokens for the configured client. Raises UpstreamFailed."""
    if request.client_id is None:
        raise UpstreamFailed("client_credentials needs a client_id in its oauth table")
    found = await discover(http, request.url, challenge, request.oauth)
    client = configured_client(request.client_id, request.oauth, found.server)
    scope = wanted_scope(request, challenge, found)
    form = {
        "grant_type": "client_credentials",
        **named_resource(request.oauth, found.resource),
        **({"scope": scope} if scope else {}),
    }
    tokens = await request_tokens(http, found.server.token_endpoint, client, form)
    # The client can always ask again (RFC 6749, section 4.4.3).
    tokens = msgspec.structs.replace(tokens, refresh_token=None, machine=True)
    return request.label(tokens, found, client, scope)
