"""Mistakes about http:// where HTTPS is required."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.sec_transport import follows_redirects
from conformance.mutants.sse import follows_an_endpoint_to_another_origin
from dynamic_mcp.config.load import parse
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth import metadata
from dynamic_mcp.origin import is_plain
from dynamic_mcp.upstream.http.client import HttpClient

if TYPE_CHECKING:
    from dynamic_mcp.config.model import Config


@mutant("HARD-003")
def ignores_that_https_is_required() -> None:
    right = HttpClient.__init__

    def wrong(self: HttpClient, *arguments: Any, require_https: bool, **more: Any) -> None:
        right(self, *arguments, **more)

    replace(right, wrong)


@mutant("HARD-003")
def looks_at_the_scheme_after_it_has_connected() -> None:
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        parts = urlsplit(self.url)
        async with await anyio.connect_tcp(parts.hostname or "", parts.port or 80):
            await right(self)

    replace(right, wrong)


@mutant("HARD-003")
def refuses_http_on_loopback_too() -> None:
    replace(is_plain, lambda url: url.startswith("http:"))


@mutant("HARD-003", also={"SEC-020": "every redirect is followed"})
def follows_redirects_to_http() -> None:
    follows_redirects()


@mutant("HARD-003", also={"SEC-012": "an address of any scheme is taken"})
def asks_authorization_servers_without_https() -> None:
    replace(metadata.secure, lambda url, what: url)


@mutant("HARD-003", also={"SSE-005": "the endpoint of another origin is used"})
def posts_to_any_endpoint_of_an_event_stream() -> None:
    follows_an_endpoint_to_another_origin()


@mutant("HARD-003")
def does_not_say_that_https_is_required() -> None:
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        try:
            await right(self)
        except UpstreamFailed:
            raise UpstreamFailed("it is not allowed") from None

    replace(right, wrong)


@mutant("HARD-003")
def is_silent_about_http() -> None:
    def wrong(*arguments: Any) -> Config:
        read = parse(*arguments)
        return msgspec.structs.replace(
            read, warnings=tuple(one for one in read.warnings if "http://" not in one)
        )

    replace(parse, wrong)


@mutant("HARD-003")
def warns_of_http_at_each_connection() -> None:
    right = HttpClient.start

    async def wrong(self: HttpClient) -> None:
        if is_plain(self.url):
            log.warning("the connection is not encrypted")
        await right(self)

    replace(right, wrong)
