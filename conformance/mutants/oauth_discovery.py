"""Mistakes in finding the authorization server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import metadata, request
from dynamic_mcp.oauth.challenge import challenge_of
from dynamic_mcp.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    import httpx

    from dynamic_mcp.config.model import OAuthSettings
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import ResourceMetadata, ServerMetadata

_OPENID = "/.well-known/openid-configuration"
NO_RESOURCE_METADATA = "it never reads protected resource metadata"


@mutant(
    "OAUTH-002",
    also=dict.fromkeys(
        ("OAUTH-003", "OAUTH-005", "OAUTH-007", "OAUTH-030", "OAUTH-035"), NO_RESOURCE_METADATA
    )
    | {"SEC-011": "there only that metadata names the authorization server of the second upstream"},
)
def asks_the_mcp_origin_only() -> None:
    """The proxy looks only at the MCP server's own host for metadata. dmcp 1.5.0 behaves like this."""

    async def wrong(
        http: httpx.AsyncClient, url: str, challenge: Challenge, search: metadata.Search
    ) -> ResourceMetadata | None:
        return None

    replace(metadata.resource_metadata, wrong)


@mutant("OAUTH-046")
def reads_only_a_quoted_resource_metadata() -> None:
    right = challenge_of
    bare = re.compile(r'resource_metadata=(?!")[^\s,]+')
    replace(right, lambda header: right(bare.sub("", header or "")))


@mutant("OAUTH-003")
def loses_the_path_of_the_resource() -> None:
    """As after a URL join that replaces the path."""
    right = metadata.resource_addresses

    def wrong(url: str, challenge: Challenge) -> list[str]:
        return right(url.removesuffix(urlsplit(url).path), challenge)

    replace(right, wrong)


@mutant("OAUTH-004")
def gives_up_without_resource_metadata() -> None:
    async def wrong(http: httpx.AsyncClient, *more: object) -> tuple[ServerMetadata, bool]:
        raise UpstreamFailed("it has no protected resource metadata")

    replace(metadata.server_of_origin, wrong)


@mutant("OAUTH-005")
def appends_the_well_known_path_to_the_issuer() -> None:
    """The right place of the well-known path is between the host and the path of the issuer."""
    right = metadata.server_addresses
    appended = "/.well-known/oauth-authorization-server"
    replace(
        right, lambda issuer: [f"{issuer}{appended}"] if urlsplit(issuer).path.strip("/") else right(issuer)
    )


@mutant("OAUTH-006")
def believes_any_issuer() -> None:
    right = metadata.validated
    replace(right, lambda server, issuer, *settings: right(server, server.issuer, *settings))


@mutant("OAUTH-006")
def keeps_the_endpoints_of_the_first_metadata() -> None:
    """After metadata of another issuer, the proxy looks further for metadata of the right one."""
    right = request.fetch
    kept: dict[tuple[str, str, int | None], dict[str, object]] = {}

    async def wrong(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
        status, body = await right(http, what, url)
        if names_another_issuer(url, body):
            found = json.loads(body).items()
            kept[origin_of(url)] = {name: value for name, value in found if name.endswith("_endpoint")}
            return 404, b""
        if status == 200 and origin_of(url) in kept:
            body = json.dumps({**json.loads(body), **kept[origin_of(url)]}).encode()
        return status, body

    replace(right, wrong)


@mutant("OAUTH-006")
def does_not_compare_the_issuer_of_an_openid_document() -> None:
    _change_openid_documents(lambda url: {"issuer": url.replace(_OPENID, "")})


@mutant("OAUTH-006")
def compares_an_issuer_without_its_port() -> None:
    _match_issuers(lambda one, other: one.path == other.path)


@mutant("OAUTH-006", also={"OAUTH-041": "the issuers there differ in the path"})
def compares_an_issuer_without_its_path() -> None:
    _match_issuers(lambda one, other: one.port == other.port)


def _match_issuers(match: Callable[[SplitResult, SplitResult], bool]) -> None:
    """Metadata may name another issuer on the same host if the two URLs match."""
    right = metadata.validated

    def wrong(server: ServerMetadata, issuer: str, *more: Any) -> ServerMetadata:
        named, wanted = urlsplit(server.issuer), urlsplit(issuer)
        if named.hostname == wanted.hostname and match(named, wanted):
            server = msgspec.structs.replace(server, issuer=issuer)
        return right(server, issuer, *more)

    replace(right, wrong)


def _change_openid_documents(fields: Callable[[str], dict[str, object]]) -> None:
    """Replace members of each OpenID configuration; they depend on its URL."""
    right = request.fetch

    async def wrong(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
        status, body = await right(http, what, url)
        if status == 200 and _OPENID in url:
            body = json.dumps({**json.loads(body), **fields(url)}).encode()
        return status, body

    replace(right, wrong)


def names_another_issuer(url: str, body: bytes) -> bool:
    """Whether the document at this address is metadata of an authorization server at another origin."""
    try:
        issuer = json.loads(body).get("issuer")
        return issuer is not None and origin_of(issuer) != origin_of(url)
    except (ValueError, AttributeError):
        return False


@mutant("OAUTH-007", also={"OAUTH-030": "the whole host is another resource too"})
def accepts_metadata_of_any_resource() -> None:
    replace(metadata.is_resource, lambda resource, url, document: True)


@mutant("OAUTH-007")
def accepts_well_known_metadata_of_any_resource_of_the_origin() -> None:
    right = metadata.is_resource

    def wrong(resource: str, url: str, document: str) -> bool:
        at_its_place = urlsplit(document).path.startswith("/.well-known/")
        return right(resource, url, document) or (at_its_place and origin_of(resource) == origin_of(url))

    replace(right, wrong)


@mutant("OAUTH-010")
def asks_for_s256_in_no_openid_document() -> None:
    _change_openid_documents(lambda url: {"code_challenge_methods_supported": ["S256"]})


@mutant("OAUTH-010")
def takes_any_list_but_plain_for_s256() -> None:
    right = metadata.validated

    def wrong(server: ServerMetadata, *more: Any) -> ServerMetadata:
        methods = server.code_challenge_methods_supported
        if methods not in (None, ["plain"]):
            server = msgspec.structs.replace(server, code_challenge_methods_supported=["S256"])
        return right(server, *more)

    replace(right, wrong)


@mutant("OAUTH-010")
def starts_without_announced_s256() -> None:
    right = metadata.validated

    def wrong(server: ServerMetadata, issuer: str, *settings: OAuthSettings) -> ServerMetadata:
        return server if server.issuer == issuer else right(server, issuer, *settings)

    replace(right, wrong)


@mutant("OAUTH-030")
def lets_a_server_speak_for_its_host() -> None:
    """Metadata may always name a parent path, as in several clients in the field."""
    right = metadata.is_resource

    def wrong(resource: str, url: str, document: str) -> bool:
        own = urlsplit(url)
        origin = f"{own.scheme}://{own.netloc}"
        return right(resource, url, document) or resource.rstrip("/") == origin

    replace(right, wrong)
