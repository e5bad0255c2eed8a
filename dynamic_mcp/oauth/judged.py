"""The connections of a sign-in: each goes to an address that ``NetworkReach`` has judged.

The name is resolved once, and the connection goes to the judged address. The ``Host`` header and the certificate stay those of the name.
"""

from __future__ import annotations

import ipaddress
from itertools import zip_longest

import httpx

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.http_proxy import OTHER_PROXY, is_http, proxy_for
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.tls import trust_store

#: The most addresses of one name to try, and the seconds for each but the last.
MAX_ATTEMPTS = 4
ATTEMPT_TIME = 3.0


class JudgedTransport(httpx.AsyncBaseTransport):
    """Sends requests directly, or through the HTTP proxy that the environment names."""

    def __init__(self, reach: NetworkReach) -> None:
        self._reach = reach
        # The library knows a connection by its address. Kept alive, one would serve another name than its certificate.
        self._direct = httpx.AsyncHTTPTransport(
            verify=trust_store(), limits=httpx.Limits(max_keepalive_connections=0)
        )
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises TooInward, and what httpx raises."""
        proxy = proxy_for(str(request.url))
        if proxy is not None:
            await self._reach.check_literal(request.url.host)
            return await self._through(proxy).handle_async_request(request)
        host = request.url.raw_host.decode("ascii")
        try:
            addresses = await self._reach.addresses(host, request.url.port)
        except OSError:
            raise httpx.ConnectError("the name cannot be resolved", request=request) from None
        *others, last = _in_turn(addresses)
        for address in others:
            try:
                return await self._direct.handle_async_request(_at(request, host, address, ATTEMPT_TIME))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._direct.handle_async_request(_at(request, host, last))

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in (self._direct, *self._proxied.values()):
            await transport.aclose()

    def _through(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if not is_http(proxy):
            raise UpstreamFailed(OTHER_PROXY)
        if proxy not in self._proxied:
            try:
                self._proxied[proxy] = httpx.AsyncHTTPTransport(verify=trust_store(), proxy=proxy)
            except (ValueError, httpx.InvalidURL):
                raise UpstreamFailed(
                    "the proxy that the environment names cannot be used for signing in"
                ) from None
        return self._proxied[proxy]


def _in_turn(addresses: list[str]) -> list[str]:
    """A few of the addresses, of both families in turn, because one family may not work here."""
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    turns = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None][:MAX_ATTEMPTS]


def _at(request: httpx.Request, host: str, address: str, connect: float | None = None) -> httpx.Request:
    """The request, for a connection to this address of the host; ``connect`` is the time for the connection."""
    if _is_address(host):
        # An address is its own place, and only its URL can have a zone.
        return request
    extensions = {**request.extensions, "sni_hostname": host}
    if connect is not None:
        extensions["timeout"] = {**extensions.get("timeout", {}), "connect": connect}
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=extensions,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
