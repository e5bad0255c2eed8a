"""Mistakes in finding the authorization server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import msgspec

from conformance.mutants import mutant, replace, wire_oauth
from conformance.mutants.wire_oauth import (
    OF_RESOURCE,
    OF_SERVER,
    answer,
    document_of,
    of_this_server,
    with_url,
)
from dynamic_mcp.oauth.challenge import challenge_of
from dynamic_mcp.oauth.metadata import discover

if TYPE_CHECKING:
    from conformance.mutants.wire_oauth import Members, Send
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.metadata import Discovered

NO_RESOURCE_METADATA = "the proxy never looks at protected resource metadata"
RESOURCE, SERVER = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"


@mutant(
    "OAUTH-002",
    also=dict.fromkeys(("OAUTH-003", "OAUTH-005", "OAUTH-007", "OAUTH-018"), NO_RESOURCE_METADATA),
)
def asks_the_mcp_origin_only() -> None:
    """The proxy looks at no challenge and no protected resource metadata. dmcp 1.5.0 behaves like this."""

    def wrong(header: str) -> Challenge:
        return msgspec.structs.replace(challenge_of(header), resource_metadata=None)

    async def find_nothing(request: httpx.Request, send: Send) -> httpx.Response:
        return answer(request, 404, {}) if RESOURCE in request.url.path else await send(request)

    replace(challenge_of, wrong)
    wire_oauth.around_requests(find_nothing)


@mutant("OAUTH-003")
def loses_the_path_of_the_resource() -> None:
    """As after a URL join that replaces it."""

    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        if request.url.path.startswith(f"{RESOURCE}/"):
            request = with_url(request, str(request.url.copy_with(path=RESOURCE)))
        return await send(request)

    wire_oauth.around_requests(wrong)


@mutant("OAUTH-004")
def gives_up_without_resource_metadata() -> None:
    published: list[str] = []

    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        if request.url.path == SERVER and not published:
            raise httpx.ConnectError("there is no protected resource metadata")
        response = await send(request)
        if OF_RESOURCE in document_of(response):
            published.append(str(request.url))
        return response

    wire_oauth.around_requests(wrong)


@mutant("OAUTH-005")
def appends_the_well_known_path_to_the_issuer() -> None:
    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        path = request.url.path
        if "/.well-known/openid-configuration" in path:
            return answer(request, 404, {})
        if path.startswith(f"{SERVER}/"):
            appended = path.removeprefix(SERVER) + SERVER
            request = with_url(request, str(request.url.copy_with(path=appended)))
        return await send(request)

    wire_oauth.around_requests(wrong)


@mutant("OAUTH-006")
def believes_any_issuer() -> None:
    expected: list[str] = []

    def remember(document: Members, request: httpx.Request) -> Members:
        expected.extend(document["authorization_servers"])
        return document

    def wrong(document: Members, request: httpx.Request) -> Members:
        return {**document, "issuer": of_this_server(expected, request) or document["issuer"]}

    wire_oauth.change_metadata(OF_RESOURCE, remember)
    wire_oauth.change_metadata(OF_SERVER, wrong)


@mutant("OAUTH-007")
def accepts_metadata_of_any_resource() -> None:
    urls: list[str] = []

    async def remember(http: httpx.AsyncClient, url: str, challenge: Challenge) -> Discovered:
        urls.append(url)
        return await discover(http, url, challenge)

    def wrong(document: Members, request: httpx.Request) -> Members:
        return {**document, "resource": of_this_server(urls, request) or document["resource"]}

    replace(discover, remember)
    wire_oauth.change_metadata(OF_RESOURCE, wrong)


@mutant("OAUTH-010")
def starts_without_announced_s256() -> None:
    wire_oauth.change_metadata(
        OF_SERVER, lambda document, request: {**document, "code_challenge_methods_supported": ["S256"]}
    )
