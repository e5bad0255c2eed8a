"""Finds out which HTTP transport a server speaks, where the configuration leaves that open.

Streamable HTTP is tried first. A server that refuses its very first message with 400, 404 or 405 may speak the older transport: then its
event stream is opened at the same address (MCP 2025-11-25, transports, "Backwards Compatibility"). 401 and 403 are about an authorization
and say nothing about the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.log import log
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.upstream.http.wrapper import UpstreamWrapper

_NOT_STREAMABLE = frozenset({400, 404, 405})


class AutoDetect(UpstreamWrapper):
    """Streamable HTTP, or the older transport when ``open`` finds that."""

    def __init__(self, streamable: Upstream, legacy: Callable[[], Upstream]) -> None:
        super().__init__(streamable)
        self._legacy = legacy

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
            self._behind = self._legacy()
            try:
                await super().open(timeout)
            except HttpStatus:
                # No stream there either: the refusal of the first transport says more.
                raise refusal from None
