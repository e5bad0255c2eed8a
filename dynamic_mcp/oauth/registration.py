"""The proxy as a client of an authorization server: dynamic registration (RFC 7591) and client authentication.

A configured ``oauth_client_id`` needs no registration; it may be the URL of a client metadata document, if the server supports that.
Without one, the proxy registers as a native application on a loopback address, with a secret if the server requires one. The
registration stays with the tokens, because it belongs to that server and to that address. If the server refuses a registration, the proxy
leaves out what the server may have refused, in at most four further requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.oauth import assertion
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.request import Unreadable, decode, send_request
from dynamic_mcp.oauth.server_words import words_of
from dynamic_mcp.oauth.tokens import ClientRegistration

_NOTHING_HIDDEN = HiddenValues()
_METHODS = ("none", "client_secret_basic", "client_secret_post")
#: The statuses with which servers refuse metadata of a client.
_METADATA_REFUSED = (400, 403, 422)


class _Registered(msgspec.Struct):
    client_id: str
    client_secret: str | None = None
    method: str | None = msgspec.field(name="token_endpoint_auth_method", default=None)
    scope: Any = None
    #: POSIX time, 0 = never (RFC 7591, section 3.2.1); any value is valid, because the registration works without it
    expires_at: Any = msgspec.field(name="client_secret_expires_at", default=0)


class _Refused(msgspec.Struct):
    """RFC 7591, section 3.2.2."""

    error: Any = None
    error_description: Any = None


def auth_methods(server: ServerMetadata) -> list[str]:
    """The authentication methods to register for, the best one first: none, if the server allows that."""
    # The default is client_secret_basic (RFC 8414, section 2), but MCP expects public clients.
    offered = server.token_endpoint_auth_methods_supported or ["none", "client_secret_basic"]
    return [method for method in _METHODS if method in offered] or ["none"]


async def register(
    http: httpx.AsyncClient,
    server: ServerMetadata,
    redirect_uri: str,
    scope: str | None,
    hidden: HiddenValues = _NOTHING_HIDDEN,
) -> ClientRegistration:
    """Register with the server. Raises UpstreamFailed if it takes no registrations, or refuses this one.

    A refusal contains the words of the server without the ``hidden`` values.
    """
    if server.registration_endpoint is None:
        raise UpstreamFailed(
            "it needs an authorization, and its authorization server takes no registrations: configure oauth_client_id"
        )
    endpoint = server.registration_endpoint
    refusal: UpstreamFailed | None = None
    for metadata in _variants(server, redirect_uri, scope):
        status, body = await send_request(http, "its registration endpoint", "POST", endpoint, json=metadata)
        if status in (200, 201):
            return _registered(body, server, metadata, scope)
        words = _words(body, hidden)
        # The first one is about what the proxy wants, the others are about what it can do without.
        refusal = refusal or UpstreamFailed(
            f"its registration endpoint ({shown(endpoint)}) refuses the registration "
            f"({', '.join(filter(None, (f'HTTP {status}', words)))}): configure oauth_client_id{_redirect_advice(redirect_uri, words)}"
        )
        if status not in _METADATA_REFUSED or words.startswith("invalid_redirect_uri"):
            break
    assert refusal is not None
    raise refusal


def _variants(server: ServerMetadata, redirect_uri: str, scope: str | None) -> Iterator[dict[str, Any]]:
    """What to register, in the order of the attempts: all, then without one thing that the server may refuse, then without all these."""
    methods = auth_methods(server)
    wanted = {
        "client_name": "dynamic-mcp",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": methods[0],
        "application_type": "native",
        "scope": scope,
    }
    changes: list[dict[str, Any]] = []
    # Some servers give a refresh token although their metadata do not say so.
    if "refresh_token" not in (server.grant_types_supported or ["refresh_token"]):
        changes.append({"grant_types": ["authorization_code"]})
    if len(methods) > 1:
        changes.append({"token_endpoint_auth_method": methods[1]})
    if scope:
        changes.append({"scope": None})
    every = [{}, *changes]
    if len(changes) > 1:
        every.append({name: value for change in changes for name, value in change.items()})
    for change in every:
        yield {name: value for name, value in {**wanted, **change}.items() if value}


def _words(body: bytes, hidden: HiddenValues) -> str:
    try:
        refused = decode(body, _Refused)
    except Unreadable:
        return ""
    return words_of(refused.error, refused.error_description, hidden)


def _redirect_advice(redirect_uri: str, words: str) -> str:
    if "redirect" not in words.lower() or urlsplit(redirect_uri).hostname != "127.0.0.1":
        return ""
    return '; if it accepts only localhost, write "redirect_uri": "http://localhost/oauth/callback" in its oauth table'


def _registered(
    body: bytes, server: ServerMetadata, metadata: dict[str, Any], scope: str | None
) -> ClientRegistration:
    """The client of this answer. Raises UpstreamFailed."""
    try:
        registered = decode(body, _Registered)
    except Unreadable:
        raise UpstreamFailed(
            f"the answer of its registration endpoint ({shown(server.registration_endpoint or '')}) cannot be read: "
            "configure oauth_client_id"
        ) from None
    # Some servers answer with an empty secret for a public client.
    secret = registered.client_secret or None
    given = registered.scope if isinstance(registered.scope, str) and registered.scope else None
    method = registered.method or metadata["token_endpoint_auth_method"]
    if secret is not None and method == "none":
        method = "client_secret_basic"
    offered = server.token_endpoint_auth_methods_supported or []
    is_unknown = method != registered.method and "client_secret_basic" not in offered
    return ClientRegistration(
        registered.client_id,
        secret,
        method,
        metadata["redirect_uris"][0],
        registered=True,
        secret_expires_at=_expiry_of(registered),
        is_guess=secret is not None and ("client_secret_post" in offered or is_unknown),
        # Another registration would get no more than this one.
        scope=" ".join(filter(None, (scope, given))) or None,
        given_scope=given,
    )


def _expiry_of(registered: _Registered) -> float | None:
    at = registered.expires_at
    is_time = isinstance(at, int | float) and not isinstance(at, bool) and at > 0
    return float(at) if is_time and registered.client_secret else None


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
        if client.is_raw:
            return form, (client.client_id, client.client_secret)
        return form, (quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
    if client.client_secret is not None and client.method == "client_secret_post":
        form["client_secret"] = client.client_secret
    return form, None


def is_encoded(client: ClientRegistration) -> bool:
    """Whether the percent-encoding of HTTP Basic changes the id or the secret of this client."""
    return any(quote(text, safe="") != text for text in (client.client_id, client.client_secret or ""))
