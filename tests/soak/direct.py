"""A server without a proxy: what the machine allows at the moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "soak", "version": "1"},
}


def request(id: int, method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\n"


class Direct:
    """A server that the test itself starts and asks, as a client without a proxy does. A context manager."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        """``entry`` is that of a server on stdio in a configuration."""
        self._entry = entry
        self._last_id = 0

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            self._entry["command"], *self._entry["args"], stdin=pipe, stdout=pipe
        )
        await self.ask("initialize", HELLO)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def ask(self, method: str, params: dict[str, Any]) -> None:
        """Send a request and wait for its result. One request at a time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._last_id += 1
        self._process.stdin.write(request(self._last_id, method, params))
        assert b'"result"' in await self._process.stdout.readline()
