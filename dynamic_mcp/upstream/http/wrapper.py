"""An upstream around another one."""

from __future__ import annotations

from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.upstream.base import Handshake, Options, Upstream


class UpstreamWrapper:
    """An upstream that passes everything to another one, except what a subclass overrides."""

    def __init__(self, behind: Upstream) -> None:
        self._behind = behind

    @property
    def modern(self) -> bool:
        """See ``Upstream``."""
        return self._behind.modern

    @property
    def agreed(self) -> Handshake:
        """See ``Upstream``."""
        return self._behind.agreed

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        """See ``Upstream``."""
        await self._behind.open(timeout, skip_probe=skip_probe)

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """See ``Upstream``."""
        return await self._behind.request(method, params, options)

    def notify(self, method: str, params: bytes = b"") -> None:
        """See ``Upstream``."""
        self._behind.notify(method, params)

    async def lost(self) -> UpstreamGone:
        """See ``Upstream``."""
        return await self._behind.lost()

    def stderr_tail(self) -> str:
        """See ``Upstream``."""
        return self._behind.stderr_tail()

    def set_paused(self, paused: bool) -> None:
        """See ``Upstream``."""
        self._behind.set_paused(paused)

    async def close(self) -> None:
        """See ``Upstream``."""
        await self._behind.close()
