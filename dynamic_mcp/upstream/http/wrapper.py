"""An upstream that wraps another one."""

from __future__ import annotations

from msgspec import Raw

from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Handshake, Upstream


class UpstreamWrapper:
    """Passes everything to the inner upstream, except what a subclass overrides."""

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner

    @property
    def modern(self) -> bool:
        return self._inner.modern

    @property
    def agreed(self) -> Handshake:
        return self._inner.agreed

    @property
    def delivers_notifications(self) -> bool:
        return self._inner.delivers_notifications

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        await self._inner.open(timeout, skip_probe=skip_probe)

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        return await self._inner.request(method, params, options)

    def learn_tool(self, name: str, definition: Raw) -> str:
        return self._inner.learn_tool(name, definition)

    def notify(self, method: str, params: bytes = b"") -> None:
        self._inner.notify(method, params)

    async def wait_lost(self) -> UpstreamGone:
        return await self._inner.wait_lost()

    def stderr_tail(self) -> str:
        return self._inner.stderr_tail()

    def set_paused(self, paused: bool) -> None:
        self._inner.set_paused(paused)

    async def close(self) -> None:
        await self._inner.close()
