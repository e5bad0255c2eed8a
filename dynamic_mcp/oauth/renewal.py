"""One renewal at the authorization server that issued the tokens, also after its token endpoint has moved."""

from __future__ import annotations

import httpx
import msgspec

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.configured import completed, named_resource
from dynamic_mcp.oauth.moves import IssuerReplaced, endpoint_now
from dynamic_mcp.oauth.own_headers import client_for
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.request import NoConnection, TransientFailure
from dynamic_mcp.oauth.token_endpoint import NoTokenEndpoint, request_tokens
from dynamic_mcp.oauth.tokens import Tokens


async def renewed(transport: RemoteTransport, reach: NetworkReach, old: Tokens) -> Tokens | None:
    """New tokens from where the old ones came; None if the old ones do not name that place, or need the user.

    Without a new refresh token, the old one stays (RFC 6749, section 6). Raises IssuerReplaced, and what ``request_tokens`` raises.
    """
    endpoint, resource, client = old.token_endpoint, old.resource, old.client
    if endpoint is None or resource is None or client is None:
        return None
    form = named_resource(transport.oauth, resource)
    if old.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
    elif old.machine:
        # The granted scopes can have names that no request may have, as after ``.default``.
        form |= {"grant_type": "client_credentials", **({"scope": old.requested} if old.requested else {})}
    else:
        return None
    client = completed(client, transport.oauth)
    async with client_for(transport, reach) as http:
        try:
            new = await request_tokens(http, endpoint, client, form)
        except (NoConnection, NoTokenEndpoint) as failure:
            endpoint = await _other_endpoint(http, transport, old, failure)
            new = await request_tokens(http, endpoint, client, form)
            log.info("group %s: its token endpoint is %s now", old.server, shown(endpoint))
    return msgspec.structs.replace(
        old,
        token_endpoint=endpoint,
        access_token=new.access_token,
        refresh_token=None if old.machine else new.refresh_token or old.refresh_token,
        expires_at=new.expires_at,
        lifetime=new.lifetime,
        scope=new.scope or old.scope,
        client=new.client or client,
    )


async def _other_endpoint(
    http: httpx.AsyncClient, transport: RemoteTransport, old: Tokens, failure: UpstreamFailed
) -> str:
    """Where the token endpoint is after this failure. Raises IssuerReplaced, and the failure if there is no other place."""
    if old.issuer is None:
        raise failure
    try:
        endpoint = await endpoint_now(http, transport, old.issuer)
    except IssuerReplaced:
        raise
    except UpstreamFailed as unknown:
        if isinstance(failure, NoTokenEndpoint):
            raise NoTokenEndpoint(f"{failure}, and the search for another one failed: {unknown}") from None
        raise failure from None
    if endpoint != old.token_endpoint:
        return endpoint
    if isinstance(failure, NoTokenEndpoint):
        raise TransientFailure(f"{failure}, and the metadata of its authorization server name no other one")
    raise failure
