"""Discovery of the authorization server of a protected resource.

The protected resource metadata come from the address in the challenge (RFC 9728, section 5.1), or from the well-known addresses with
and without the path of the resource. They name the authorization server. That server has its own metadata (RFC 8414, section 3; OpenID
Connect Discovery 1.0, section 4). Without protected resource metadata, the origin of the resource is the authorization server,
with default endpoints (MCP 2025-03-26, basic/authorization).

Metadata count only if they name the right resource, and the right issuer. The proxy skips an address without a usable document and tries
the next one. After the last address of an authorization server, it tries the next authorization server that the resource names.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
import msgspec

from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.issuer import is_same_issuer
from dynamic_mcp.oauth.lenient import Incomplete, decode_known
from dynamic_mcp.oauth.request import TransientFailure, Unreadable, fetch
from dynamic_mcp.origin import identifier_of, is_loopback, without_user

_T = TypeVar("_T", bound=msgspec.Struct)
#: The most authorization servers of a resource to ask.
MAX_SERVERS = 3
#: The metadata of Entra ID for all tenants have a template, such as https://login.microsoftonline.com/{tenantid}/v2.0.
_OF_YOUR_TENANT = 'write the first one, with the id of your tenant, as "issuer" in its oauth table'
_WELL_KNOWN = "/.well-known/oauth-protected-resource"


class NoSignIn(UpstreamFailed):
    """A server asks for an authorization, and nothing shows how to sign in to it."""


class ResourceMetadata(msgspec.Struct, frozen=True):
    """The members in use of RFC 9728, section 2."""

    resource: str
    authorization_servers: list[str] = []
    scopes_supported: list[str] | None = None


class ServerMetadata(msgspec.Struct, frozen=True):
    """The members in use of RFC 8414, section 2."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None = None
    grant_types_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    scopes_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class MachineServerMetadata(ServerMetadata, frozen=True, kw_only=True):
    """The same for a sign-in without a browser, which needs no authorization endpoint."""

    authorization_endpoint: str = ""


class Search(msgspec.Struct):
    """What addresses without a usable document answered."""

    #: what kept a request from an answer, and why a document cannot be used
    failures: list[UpstreamFailed] = []
    #: which members documents lack
    flaws: list[UpstreamFailed] = []
    #: the other answers, for a message
    answers: list[str] = []

    def failure(self) -> UpstreamFailed:
        """The failure to report: one that may pass, so that another attempt follows, else the first one."""
        passing = [one for one in self.failures if isinstance(one, TransientFailure)]
        said = "; ".join(self.answers)
        return [
            *passing,
            *self.failures,
            *self.flaws,
            UpstreamFailed(f"its authorization server publishes no metadata: {said}"),
        ][0]


class Discovered(msgspec.Struct, frozen=True):
    """Where to sign in, and for what."""

    server: ServerMetadata
    #: the value of ``resource`` in every request (RFC 8707)
    resource: str
    scopes_supported: list[str] | None
    #: false if the server published no metadata, and the defaults of MCP 2025-03-26 apply
    published: bool = True


async def discover(
    http: httpx.AsyncClient, url: str, challenge: Challenge, settings: OAuthSettings
) -> Discovered:
    """Find the authorization server of the MCP server at ``url``. Raises UpstreamFailed."""
    search = Search()
    if settings.issuer is not None:
        return await _at_configured_issuer(http, url, challenge, settings, settings.issuer)
    resource = await resource_metadata(http, url, challenge, search)
    if resource is None:
        server, published = await server_of_origin(http, url, settings)
        if search.failures and not published:
            raise search.failure()
        if search.flaws and not published:
            # A server with such a document is newer than the default endpoints.
            raise NoSignIn(str(search.flaws[0]))
        # After a failure it is not certain that the resource has no metadata.
        return Discovered(server, canonical(url), None, published and not search.failures)
    if not resource.authorization_servers:
        raise UpstreamFailed("its protected resource metadata names no authorization server")
    server = await usable_server(http, resource.authorization_servers[:MAX_SERVERS], settings)
    return Discovered(server, resource.resource, resource.scopes_supported)


async def _at_configured_issuer(
    http: httpx.AsyncClient, url: str, challenge: Challenge, settings: OAuthSettings, issuer: str
) -> Discovered:
    """The resource metadata may be missing or wrong, because the configuration names what they are needed for."""
    resource = None
    with contextlib.suppress(UpstreamFailed):
        resource = await resource_metadata(http, url, challenge, Search())
    server = await usable_server(http, [issuer], settings)
    if resource is None:
        return Discovered(server, canonical(url), None)
    return Discovered(server, resource.resource, resource.scopes_supported)


async def usable_server(
    http: httpx.AsyncClient, issuers: list[str], settings: OAuthSettings
) -> ServerMetadata:
    """The first metadata of these authorization servers that can be used. Raises UpstreamFailed."""
    search = Search()
    kind = MachineServerMetadata if settings.is_machine else ServerMetadata
    for issuer in issuers:
        try:
            addresses = server_addresses(secure(issuer, "authorization server"))
        except UpstreamFailed as insecure:
            search.failures.append(insecure)
            continue
        for address in addresses:
            _, found = await _first(http, [address], kind, search)
            try:
                if found is not None:
                    return validated(found, issuer, settings)
            except UpstreamFailed as unfit:
                search.failures.append(unfit)
    raise search.failure()


def canonical(url: str) -> str:
    """The resource identifier of an MCP server: its URL without fragment (RFC 8707, section 2).

    It has no query and no user either: they may be secrets, and the identifier becomes part of addresses.
    """
    return urlunsplit(urlsplit(without_user(url))._replace(query="", fragment=""))


def secure(url: str, what: str) -> str:
    """The URL, if it is https or on this machine. Raises UpstreamFailed.

    RFC 6749, section 3.1; MCP 2025-11-25, basic/authorization, "Communication Security".
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # Only reading the port raises ValueError for an invalid one.
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and is_loopback(host):
        return url
    raise UpstreamFailed(f"the address of its {what} is not https: {shown(url)}")


async def resource_metadata(
    http: httpx.AsyncClient, url: str, challenge: Challenge, search: Search
) -> ResourceMetadata | None:
    """The protected resource metadata of the MCP server at ``url``; None when it has none. Raises UpstreamFailed.

    ``search`` takes what addresses without a document answered.
    """
    address, found = await _first(http, resource_addresses(url, challenge), ResourceMetadata, search)
    if found is not None and not is_resource(found.resource, url, address):
        raise UpstreamFailed(
            f"its protected resource metadata is about another resource, {shown(found.resource)}, "
            f"and not about {shown(canonical(url))} (RFC 9728, section 3.3){_remedy(found.resource, url)}"
        )
    return found


def _remedy(resource: str, url: str) -> str:
    """What the user can do if the metadata of the MCP server at ``url`` name this resource."""
    try:
        secure(resource, "resource")
        (origin, path, query), (own_origin, own_path, _) = identifier_of(resource), identifier_of(url)
    except (UpstreamFailed, ValueError):
        return ""
    is_parent = origin == own_origin and own_path.rstrip("/").startswith(f"{path.rstrip('/')}/")
    if is_parent or query or urlsplit(resource).fragment or "@" in urlsplit(resource).netloc:
        return ""
    return "; if that is the address of this server, write it as its url in the configuration"


def resource_addresses(url: str, challenge: Challenge) -> list[str]:
    """The addresses that may hold the metadata of the MCP server at ``url``, in order.

    An address in the challenge may be relative. One that is not https is left out, as if the server had named none.
    """
    parts = urlsplit(url)
    paths = dict.fromkeys((f"{_WELL_KNOWN}{parts.path.rstrip('/')}", _WELL_KNOWN))
    addresses = [urlunsplit((parts.scheme, parts.netloc, path, "", "")) for path in paths]
    if challenge.resource_metadata is not None:
        with contextlib.suppress(UpstreamFailed, ValueError):
            named = urljoin(without_user(url), challenge.resource_metadata)
            addresses.insert(0, secure(named, "protected resource metadata"))
    return addresses


async def server_of_origin(
    http: httpx.AsyncClient, url: str, settings: OAuthSettings
) -> tuple[ServerMetadata, bool]:
    """The authorization server at the origin of the MCP server; false if it has no metadata, so default endpoints. Raises UpstreamFailed.

    MCP 2025-03-26, basic/authorization, "Fallbacks for Servers without Metadata Discovery".
    """
    parts = urlsplit(without_user(url))
    origin = f"{parts.scheme}://{parts.netloc}"
    try:
        secure(origin, "authorization server")
    except UpstreamFailed as refusal:
        raise NoSignIn(str(refusal)) from None
    search = Search()
    kind = MachineServerMetadata if settings.is_machine else ServerMetadata
    first, *others = server_addresses(origin)
    _, server = await _first(http, [first], kind, search)
    if search.failures:
        raise search.failure()
    if server is not None:
        return validated(server, origin, settings), True
    # MCP 2025-03-26 has only the first address, so a failure at another one means nothing.
    _, server = await _first(http, others, kind, Search())
    if server is not None:
        try:
            return validated(server, origin, settings), True
        except UpstreamFailed as unfit:
            # It may be the metadata of another service of this host.
            raise NoSignIn(str(unfit)) from None
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


def validated(server: ServerMetadata, issuer: str, settings: OAuthSettings) -> ServerMetadata:
    """The metadata of the authorization server ``issuer``, if they can be used. Raises UpstreamFailed."""
    if not is_same_issuer(server.issuer, issuer):
        raise UpstreamFailed(
            f"its authorization server's metadata names another issuer, {shown(server.issuer)}, "
            f"and not {shown(issuer)} (RFC 8414, section 3.3); "
            + (_OF_YOUR_TENANT if "{" in server.issuer else "its operator has to correct one of them")
        )
    secure(server.token_endpoint, "token endpoint")
    if settings.is_machine:
        return server
    methods = server.code_challenge_methods_supported
    if "S256" not in (methods or (["S256"] if settings.assume_pkce else [])):
        hint = "" if methods else "; if it does (Entra ID, Cognito), set assume_pkce in its oauth table"
        raise UpstreamFailed(f"its authorization server does not say that it supports PKCE with S256{hint}")
    secure(server.authorization_endpoint, "authorization endpoint")
    if server.registration_endpoint is not None:
        secure(server.registration_endpoint, "registration endpoint")
    return server


def is_resource(resource: str, url: str, document: str) -> bool:
    """Whether metadata at the address ``document`` that name ``resource`` are about the MCP server at ``url``.

    RFC 9728, section 3.3: they name either the URL of the server, or the URL to which their well-known address belongs. At the well-known
    address of a parent path, metadata may name that path. Metadata elsewhere, which the server itself chooses, name the server only.
    """
    try:
        named, own = identifier_of(resource), identifier_of(without_user(url))
        place = urlsplit(document)
        holder = urlunsplit(place._replace(path=place.path.removeprefix(_WELL_KNOWN)))
        of_place = identifier_of(holder) if place.path.startswith(_WELL_KNOWN) else None
    except ValueError:
        return False
    if urlsplit(resource).fragment or "@" in urlsplit(resource).netloc:
        return False
    if named == own or named == (*own[:2], ""):
        return True
    (origin, path, query), (own_origin, own_path, _) = named, own
    return (
        named == of_place
        and origin == own_origin
        and not query
        and own_path.startswith(f"{path.rstrip('/')}/")
    )


async def _first(
    http: httpx.AsyncClient, addresses: list[str], kind: type[_T], search: Search
) -> tuple[str, _T | None]:
    """The first document at these addresses, and its address; ``search`` takes what the others answered."""
    for address in dict.fromkeys(addresses):
        try:
            status, body = await fetch(http, "the address of its authorization metadata", address)
            if status == 200:
                return address, decode_known(body, kind)
            search.answers.append(f"{shown(address)} answered with HTTP {status}")
        except Incomplete as flaw:
            search.flaws.append(_incomplete(kind, address, flaw.name))
        except Unreadable:
            search.answers.append(f"{shown(address)} has no such document")
        except UpstreamFailed as failure:
            search.failures.append(failure)
    return "", None


def _incomplete(kind: type[msgspec.Struct], address: str, member: str) -> UpstreamFailed:
    whose, rule = "its authorization server's metadata", "RFC 8414, section 2"
    if kind is ResourceMetadata:
        whose, rule = "its protected resource metadata", "RFC 9728, section 3.3"
    return UpstreamFailed(f"{whose} at {shown(address)} cannot be used without a valid {member!r} ({rule})")
