"""The configured headers in the requests of a sign-in: only to the origin of the server, which gets them anyway.

A gateway in front of a server can want its key on every address, also on those of the metadata. ``Authorization`` stays out: the metadata
are public, and at a token endpoint it is the authentication of the client.
"""

from __future__ import annotations

import httpx

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.oauth import request as requests
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.origin import origin_of, without_user

_NEVER = frozenset({"authorization", "host", "connection", "transfer-encoding", "content-length"})


def client_for(transport: RemoteTransport, reach: NetworkReach) -> httpx.AsyncClient:
    """A client for one sign-in or renewal of this server."""
    http = requests.http_client(reach)
    headers = [(name, value.reveal()) for name, value in transport.headers if name.lower() not in _NEVER]
    try:
        own = origin_of(without_user(transport.url.reveal()))
    except ValueError:
        return http

    async def add(request: httpx.Request) -> None:
        if origin_of(str(request.url)) == own:
            for name, value in headers:
                # What the request itself needs stays, such as its content type.
                if name.lower() in ("content-type", "accept", "accept-encoding") and name in request.headers:
                    continue
                request.headers[name] = value

    http.event_hooks = {"request": [add], "response": []}
    return http
