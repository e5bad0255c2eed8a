"""Which transport a server behind a URL speaks, where the configuration leaves that open.

Streamable HTTP is tried first. A server that refuses its very first message with 400, 404 or 405 may be one of the older transport:
then its event stream is opened at the same address (MCP 2025-11-25, transports, "Backwards Compatibility"). 401 and 403 are
about an authorization and say nothing about the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.config.model import HttpTransport, SseTransport
from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.log import log
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.upstream.base import Events, Upstream, UpstreamWrapper
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream

_NOT_STREAMABLE = frozenset({400, 404, 405})


class Remote:
    """One configured server behind a URL: what outlives its connections, and a connection when one is wanted."""

    def __init__(self, server: str, transport: HttpTransport | SseTransport) -> None:
        self.authorization = Authorization(server, transport)
        self._transport = transport

    def upstream(self, events: Events) -> Upstream:
        """A connection, unopened."""
        if isinstance(self._transport, SseTransport):
            return self._sse(events)
        streamable = StreamableHttpUpstream(self._web(), events, most=self._transport.max_message_size)
        if not self._transport.detect:
            return streamable
        return AutoDetect(streamable, lambda: self._sse(events))

    def _sse(self, events: Events) -> SseUpstream:
        return SseUpstream(self._web(), events, most=self._transport.max_message_size)

    def _web(self) -> HttpClient:
        headers = {name: value.reveal() for name, value in self._transport.headers}
        return HttpClient(
            self._transport.url.reveal(),
            headers,
            self.authorization,
            require_https=self._transport.require_https,
        )


class AutoDetect(UpstreamWrapper):
    """Streamable HTTP, or the older transport when ``open`` finds that."""

    def __init__(self, first: Upstream, otherwise: Callable[[], Upstream]) -> None:
        super().__init__(first)
        self._otherwise = otherwise

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """See ``Upstream``."""
        try:
            await super().open(timeout, skip_probe=skip_probe)
        except HttpStatus as refusal:
            if refusal.status not in _NOT_STREAMABLE:
                raise
            log.debug(
                "the server does not speak Streamable HTTP (HTTP %d), its event stream is tried",
                refusal.status,
            )
            await self.close()
            self._behind = self._otherwise()
            try:
                await super().open(timeout)
            except HttpStatus:
                # No stream there either: what the first transport met says more.
                raise refusal from None
