"""The proxy as a client of an authorization server: dynamic registration (RFC 7591) and client authentication.

A configured ``oauth_client_id`` needs no registration; it may be the URL of a client metadata document, if the server supports that.
Without one, the proxy registers as a native application on a loopback address, with a secret if the server requires one. The
registration stays with the tokens, because it belongs to that server and to that address.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import assertion
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.request import Unreadable, decode, send_request
from dynamic_mcp.oauth.tokens import ClientRegistration

_METHODS = ("none", "client_secret_basic", "client_secret_post")


class _Registered(msgspec.Struct):
    client_id: str
    client_secret: str | None = None
    method: str | None = msgspec.field(name="token_endpoint_auth_method", default=None)
    scope: Any = None
    #: POSIX time, 0 = never (RFC 7591, section 3.2.1); any value is valid, because the registration works without it
    expires_at: Any = msgspec.field(name="client_secret_expires_at", default=0)


def auth_method(server: ServerMetadata) -> str:
    """The authentication method to register for: none, if the server allows that."""
    # The default is client_secret_basic (RFC 8414, section 2), but MCP expects public clients.
    offered = server.token_endpoint_auth_methods_supported or ["none"]
    return next((method for method in _METHODS if method in offered), "none")


async def register(
    http: httpx.AsyncClient, server: ServerMetadata, redirect_uri: str, scope: str | None
) -> ClientRegistration:
    """Register with the server. Raises UpstreamFailed if it takes no registrations, or refuses this one."""
    if server.registration_endpoint is None:
        raise UpstreamFailed(
            "it needs an authorization, and its authorization server takes no registrations: configure oauth_client_id"
        )
    method = auth_method(server)
    metadata = {
        "client_name": "dynamic-mcp",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native",
        **({"scope": scope} if scope else {}),
    }
    endpoint = server.registration_endpoint
    status, body = await send_request(http, "its registration endpoint", "POST", endpoint, json=metadata)
    if status not in (200, 201):
        raise UpstreamFailed(
            f"its registration endpoint ({shown(endpoint)}) refuses the registration (HTTP {status}): configure oauth_client_id"
        )
    try:
        registered = decode(body, _Registered)
    except Unreadable:
        raise UpstreamFailed(
            f"the answer of its registration endpoint ({shown(endpoint)}) cannot be read: configure oauth_client_id"
        ) from None
    given = registered.scope if isinstance(registered.scope, str) and registered.scope else None
    method = registered.method or method
    if registered.client_secret is not None and method == "none":
        method = "client_secret_basic"
    offered = server.token_endpoint_auth_methods_supported or []
    basic_only = "client_secret_basic" in offered and "client_secret_post" not in offered
    return ClientRegistration(
        registered.client_id,
        registered.client_secret,
        method,
        redirect_uri,
        registered=True,
        secret_expires_at=_expiry_of(registered),
        is_guess=registered.client_secret is not None and method != registered.method and not basic_only,
        # Another registration would get no more than this one.
        scope=" ".join(filter(None, (scope, given))) or None,
        given_scope=given,
    )


def _expiry_of(registered: _Registered) -> float | None:
    at = registered.expires_at
    is_time = isinstance(at, int | float) and not isinstance(at, bool) and at > 0
    return float(at) if is_time and registered.client_secret is not None else None


def authenticate(
    client: ClientRegistration, form: dict[str, str]
) -> tuple[dict[str, str], tuple[str, str] | None]:
    """The form and the basic credentials of a token request of this client (RFC 6749, section 2.3.1). Raises UpstreamFailed.

    The form contains the client id, as section 3.2.1 allows: servers of the official Python SDK refuse a request that has only basic
    credentials. Others refuse a request that has both, and ``id_in_form`` is then false.
    """
    if client.client_secret is None or client.method != "client_secret_basic" or client.id_in_form:
        form = {**form, "client_id": client.client_id}
    if client.key is not None and client.audience is not None:
        proof = assertion.signed(client.key, client.client_id, client.audience)
        return {**form, "client_assertion_type": assertion.TYPE, "client_assertion": proof}, None
    if client.client_secret is not None and client.method == "client_secret_basic":
        return form, (quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
    if client.client_secret is not None and client.method == "client_secret_post":
        form["client_secret"] = client.client_secret
    return form, None
