"""Detects the HTTP transport of a server whose configuration does not name it.

Streamable HTTP comes first. If the server refuses the first message with 400, 404 or 405, the proxy tries HTTP+SSE at the same address
(MCP 2025-11-25, basic/transports, "Backwards Compatibility"). It does so too if the answer is the stream of HTTP+SSE. 401 and 403 concern
the authorization, not the transport.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.log import log
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.upstream.http.reply_stream import SpeaksHttpSse
from dynamic_mcp.upstream.http.wrapper import UpstreamWrapper

_NOT_STREAMABLE = frozenset({400, 404, 405})


class AutoDetect(UpstreamWrapper):
    """Streamable HTTP, or HTTP+SSE if ``open`` detects that."""

    def __init__(self, streamable: Upstream, legacy: Callable[[], Upstream]) -> None:
        super().__init__(streamable)
        self._legacy = legacy

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        try:
            await super().open(timeout, skip_probe=skip_probe)
        except (HttpStatus, SpeaksHttpSse) as refusal:
            if isinstance(refusal, HttpStatus) and refusal.status not in _NOT_STREAMABLE:
                raise
            log.debug("the server does not speak Streamable HTTP (%s); trying HTTP+SSE", refusal)
            await self.close()
            self._inner = self._legacy()
            try:
                await super().open(timeout)
            except HttpStatus:
                # The server has no event stream either, and the first refusal says more.
                raise refusal from None
