"""Mistakes in what an upstream behind a URL may talk the proxy into."""

from __future__ import annotations

import os
import re
import ssl
import urllib.request
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx
from anyio import to_thread

from conformance.mutants import mutant, replace
from conformance.mutants.http_modern import writes_names_raw_into_the_header
from conformance.mutants.wire_http import change_requests
from dynamic_mcp import server, tls
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.groups.listing import list_all
from dynamic_mcp.log import log
from dynamic_mcp.oauth import request
from dynamic_mcp.upstream.http import redirects
from dynamic_mcp.upstream.http.client import HttpClient
from mock_servers.remote.headers import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from multidict import CIMultiDict

    from conformance.mutants.wire_http import ProxyRequest
    from dynamic_mcp.config.model import Server
    from dynamic_mcp.groups.listing import Listing
    from dynamic_mcp.oauth.reach import NetworkReach
    from dynamic_mcp.upstream.base import Connector


@mutant("SEC-004")
def trusts_every_certificate() -> None:
    replace(tls.trust_store, _without_validation)


def _without_validation() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@mutant("SEC-004")
def ignores_the_host_of_a_certificate() -> None:
    def wrong() -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        return context

    replace(tls.trust_store, wrong)


@mutant("SEC-004")
def lets_a_variable_switch_the_validation_off() -> None:
    """The proxy writes a warning, but the reference promises to have no such variable."""
    right = tls.trust_store

    def wrong() -> ssl.SSLContext:
        context = right()
        if os.environ.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0":
            log.warning("no certificate is validated")
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    replace(right, wrong)


@mutant("SEC-004", also={"SEC-014": "its client for sign-ins judges no address"})
def trusts_every_authorization_server() -> None:
    """The proxy validates only the certificate of the MCP server."""
    replace(request.http_client, lambda reach: httpx.AsyncClient(timeout=15.0, verify=False))


@mutant("SEC-004")
def trusts_every_certificate_of_an_event_stream() -> None:
    """It validates the certificate only of servers with Streamable HTTP."""
    connect, trust = HttpClient.start, tls.trust_store
    streams: set[str] = set()
    right = server.connector

    def wrong_connector(configured: Server, *more: Any) -> Connector:
        if isinstance(configured.transport, RemoteTransport) and configured.transport.kind == "sse":
            streams.add(configured.transport.url.reveal())
        return right(configured, *more)

    starting: ContextVar[str] = ContextVar("starting")

    async def wrong_start(self: HttpClient) -> None:
        starting.set(self.url)
        await connect(self)

    def wrong_trust() -> ssl.SSLContext:
        return _without_validation() if starting.get("") in streams else trust()

    replace(right, wrong_connector)
    replace(connect, wrong_start)
    replace(trust, wrong_trust)


@mutant(
    "SEC-005",
    also=dict.fromkeys(("SEC-004", "SEC-014"), "it refuses the good certificate of the control too"),
)
def trusts_no_certificate() -> None:
    """The refusal of bad certificates would prove nothing."""
    replace(tls.trust_store, partial(ssl.SSLContext, ssl.PROTOCOL_TLS_CLIENT))


@mutant("SEC-020", also={"HARD-003": "a redirect may lead to http://"})
def follows_redirects() -> None:
    """The HTTP library does so by default, and forwards custom headers."""
    import aiohttp

    right = aiohttp.ClientSession.request

    def wrong(self: aiohttp.ClientSession, *place: Any, **more: Any) -> Any:
        return right(self, *place, **{**more, "allow_redirects": True})

    setattr(aiohttp.ClientSession, "request", wrong)  # noqa: B010  # mypy does not allow the assignment


@mutant("SEC-006")
def follows_redirects_with_the_token_except_for_calls() -> None:
    import aiohttp

    right = aiohttp.ClientSession.request

    async def wrong(self: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Any:
        reply = await right(self, method, url, **more)
        has_token = more["headers"].get("Authorization", "").startswith("Bearer access-")
        is_call = b'"tools/call"' in (more.get("data") or b"")
        if reply.status != 307 or is_call or not has_token:
            return reply
        return await right(self, method, reply.headers["Location"], **more)

    setattr(aiohttp.ClientSession, "request", wrong)  # noqa: B010  # mypy does not allow the assignment


@mutant("SEC-006", also={"SEC-020": "the headers and the body go there too"})
def follows_a_second_redirect_to_any_origin() -> None:
    """It compares the origin of the first redirect only."""
    right = redirects.target_of

    def wrong(url: str, status: int, location: str | None) -> str | None:
        return urljoin(url, location) if url.endswith("?hop") and location else right(url, status, location)

    replace(right, wrong)


@mutant("SEC-006")
def follows_a_second_redirect_of_the_token_endpoint_to_any_origin() -> None:
    right = request.http_client

    def wrong(reach: NetworkReach) -> httpx.AsyncClient:
        http = right(reach)
        send = http.send

        async def following(request: httpx.Request, **more: Any) -> httpx.Response:
            response = await send(request, **more)
            target = response.next_request
            if target is None or b"hop" not in (request.url.query, target.url.query):
                return response
            return await following(target, **more)

        http.send = following  # type: ignore[method-assign]
        return http

    replace(right, wrong)


@mutant("SEC-006")
def follows_redirects_of_the_authorization_server() -> None:
    right = request.http_client

    def wrong(reach: NetworkReach) -> httpx.AsyncClient:
        http = right(reach)
        http.follow_redirects = True
        return http

    replace(right, wrong)


@mutant("SEC-009")
def writes_headers_unchecked() -> None:
    """As in an HTTP client that is written by hand."""
    _check_no_headers(lambda headers: True)
    writes_names_raw_into_the_header()


@mutant("SEC-009")
def writes_the_uri_of_a_resource_unchecked_into_a_header() -> None:
    """The modern era repeats it there."""
    _check_no_headers(lambda headers: headers.get("Mcp-Method") == "resources/read")

    def wrong(request: ProxyRequest) -> None:
        if request.rpc == "resources/read" and "Mcp-Name" in request.headers:
            name = request.headers["Mcp-Name"]
            request.headers["Mcp-Name"] = decoded(name) or name

    change_requests(wrong)


def _check_no_headers(where: Callable[[CIMultiDict[str]], bool]) -> None:
    """Let the HTTP library write the headers of some requests as they are."""
    import aiohttp.http_writer

    # Private, because the library checks the headers of every request.
    right = aiohttp.http_writer._serialize_headers

    def serialize(status_line: str, headers: CIMultiDict[str]) -> bytes:
        if not where(headers):
            return bytes(right(status_line, headers))
        lines = [status_line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()

    aiohttp.http_writer._serialize_headers = serialize


@mutant("SEC-010", also={"SEC-024": "its schemas refer to others too"})
def fetches_the_schemas_that_are_referred_to() -> None:
    """As a schema validator that resolves remote references."""
    _fetch_from_definitions(rb'"\$ref":\s*"(http[^"]+)"')


@mutant("SEC-024")
def fetches_the_icons_of_tools() -> None:
    """As a program that shows them."""
    _fetch_from_definitions(rb'"src":\s*"(http[^"]+)"')


def _fetch_from_definitions(pattern: bytes) -> None:
    right = list_all

    async def wrong(*arguments: Any) -> Listing:
        listing = await right(*arguments)
        for definition in listing.values():
            for url in re.findall(pattern, bytes(definition)):
                await to_thread.run_sync(urllib.request.urlopen, url.decode())
        return listing

    replace(right, wrong)
