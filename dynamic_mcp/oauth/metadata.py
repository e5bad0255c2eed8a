"""Finding the authorization server of a protected resource.

In order: the protected resource metadata that the challenge names (RFC 9728, section 5.1), that of the well-known addresses with and
without the path of the resource, then the authorization server's own metadata (RFC 8414, OpenID Connect Discovery); without
protected resource metadata, the origin of the resource itself is asked (MCP 2025-03-26), down to its default endpoints.

What is found is believed only where it belongs to what was asked: metadata names its resource, and its issuer.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.request import Unreadable, ask, read
from dynamic_mcp.origin import is_loopback, without_user

_T = TypeVar("_T", bound=msgspec.Struct)


class ResourceMetadata(msgspec.Struct, frozen=True):
    """RFC 9728, section 2, as far as it is used."""

    resource: str
    authorization_servers: list[str] = []
    scopes_supported: list[str] | None = None


class ServerMetadata(msgspec.Struct, frozen=True):
    """RFC 8414, section 2, as far as it is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None = None
    code_challenge_methods_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    scopes_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class Discovered(msgspec.Struct, frozen=True):
    """Where to sign in, and for what."""

    server: ServerMetadata
    #: the value of ``resource`` in every request (RFC 8707)
    resource: str
    scopes_supported: list[str] | None
    #: false where nothing was published, and the defaults of MCP 2025-03-26 are taken
    published: bool = True


async def discover(http: httpx.AsyncClient, url: str, challenge: Challenge) -> Discovered:
    """Find the authorization server of the MCP server at ``url``. Raises UpstreamFailed."""
    resource = await resource_metadata(http, url, challenge)
    if resource is None:
        server, published = await of_origin(http, url)
        return Discovered(server, canonical(url), None, published)
    if not covers(resource.resource, url):
        raise UpstreamFailed("its protected resource metadata is about another resource")
    if not resource.authorization_servers:
        raise UpstreamFailed("its protected resource metadata names no authorization server")
    issuer = resource.authorization_servers[0]
    for address in server_addresses(secure(issuer, "authorization server")):
        found = await _fetch(http, address, ServerMetadata)
        if found is not None:
            return Discovered(checked(found, issuer), resource.resource, resource.scopes_supported)
    raise UpstreamFailed("its authorization server publishes no metadata")


def canonical(url: str) -> str:
    """The resource identifier of an MCP server: its URL without fragment (RFC 8707, section 2).

    Without query and user, too: they may be secrets, and this travels in addresses.
    """
    return urlunsplit(urlsplit(without_user(url))._replace(query="", fragment=""))


def secure(url: str, what: str) -> str:
    """The URL, if it is https or on this machine (RFC 6749, section 3.1; MCP authorization). Raises UpstreamFailed."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # A port that is no number is found out only when it is asked for.
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and is_loopback(host):
        return url
    raise UpstreamFailed(f"the address of its {what} is not https")


async def resource_metadata(
    http: httpx.AsyncClient, url: str, challenge: Challenge
) -> ResourceMetadata | None:
    """The protected resource metadata of the MCP server at ``url``; None when it has none. Raises UpstreamFailed."""
    parts = urlsplit(url)
    well_known = "/.well-known/oauth-protected-resource"
    paths = dict.fromkeys((f"{well_known}{parts.path.rstrip('/')}", well_known))
    addresses = [urlunsplit((parts.scheme, parts.netloc, path, "", "")) for path in paths]
    if challenge.resource_metadata is not None:
        addresses.insert(0, secure(challenge.resource_metadata, "protected resource metadata"))
    for address in addresses:
        found = await _fetch(http, address, ResourceMetadata)
        if found is not None:
            return found
    return None


async def of_origin(http: httpx.AsyncClient, url: str) -> tuple[ServerMetadata, bool]:
    """MCP 2025-03-26: the MCP server's origin is its authorization server, with default endpoints if it says nothing (False)."""
    parts = urlsplit(without_user(url))
    origin = f"{parts.scheme}://{parts.netloc}"
    secure(origin, "authorization server")
    server = await _fetch(http, f"{origin}/.well-known/oauth-authorization-server", ServerMetadata)
    if server is not None:
        return checked(server, origin), True
    return ServerMetadata(origin, f"{origin}/authorize", f"{origin}/token", f"{origin}/register"), False


def server_addresses(issuer: str) -> list[str]:
    """The addresses that may hold the metadata of an authorization server (MCP authorization)."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    addresses = [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
    ]
    return [*addresses, f"{origin}{path}/.well-known/openid-configuration"] if path else addresses


def checked(server: ServerMetadata, issuer: str) -> ServerMetadata:
    """The metadata, if it is of this issuer and good for a sign-in. Raises UpstreamFailed."""
    if server.issuer != issuer:
        raise UpstreamFailed(
            "its authorization server's metadata names another issuer (RFC 8414, section 3.3)"
        )
    if "S256" not in (server.code_challenge_methods_supported or []):
        raise UpstreamFailed("its authorization server does not say that it supports PKCE with S256")
    secure(server.authorization_endpoint, "authorization endpoint")
    secure(server.token_endpoint, "token endpoint")
    if server.registration_endpoint is not None:
        secure(server.registration_endpoint, "registration endpoint")
    return server


def covers(resource: str, url: str) -> bool:
    """Whether the resource is the MCP server, or a parent path of it on the same origin."""
    try:
        a, b = urlsplit(resource), urlsplit(without_user(url))
    except ValueError:
        return False
    if (a.scheme.lower(), a.netloc.lower()) != (b.scheme.lower(), b.netloc.lower()) or a.fragment:
        return False
    if a.query:
        return a.path == b.path and a.query == b.query
    own, parent = b.path.rstrip("/"), a.path.rstrip("/")
    return own == parent or own.startswith(f"{parent}/")


async def _fetch(http: httpx.AsyncClient, address: str, kind: type[_T]) -> _T | None:
    """The document at the address; None when there is none. Raises TransientFailure when the server cannot be asked."""
    status, body = await ask(http, "the address of its authorization metadata", "GET", address)
    if status != 200:
        return None
    try:
        return read(body, kind)
    except Unreadable:
        return None
