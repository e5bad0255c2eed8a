"""Waits until a program listens, by what its profile says about that."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import anyio

from conformance.errors import Violation
from conformance.workbench.deadlines import extended
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from conformance.model.client_table import ClientTable
    from conformance.workbench.launched import Launched

_POLL = 0.03
#: seconds for one look whether the program listens
_LOOK = 1.0


class Readiness:
    """Whether a program listens, as its profile tells it."""

    def __init__(self, url: str, table: ClientTable, launched: Launched) -> None:
        self._url, self._ready, self._headers = url, table.ready, table.headers
        self._launched = launched
        #: what was missing at the last look; empty before the first one, and for a program that listens
        self.missing = ""

    async def wait(self, within: float) -> None:
        """Return when the program listens. Raises `Violation` if it has ended, or after `within` seconds."""
        deadline = time.monotonic() + extended(within)
        expected = f"the program listens at {self._url} within {within:g} s"
        while True:
            self.missing = await self._look()
            if not self.missing:
                return
            if self._launched.code is not None:
                raise Violation(expected, "it has ended")
            if time.monotonic() > deadline:
                raise Violation(expected, self.missing, timed=True)
            await anyio.sleep(_POLL)

    async def _look(self) -> str:
        """What is missing; empty if the program is ready."""
        for name, pattern, capture in (
            ("stderr", self._ready.stderr, self._launched.stderr),
            ("stdout", self._ready.stdout, self._launched.stdout),
        ):
            if pattern:
                written = capture.data.decode(errors="replace")
                found = re.search(pattern, written, re.MULTILINE) is not None
                return "" if found else f"nothing on {name} matches /{pattern}/: {shorten(written[-500:])!r}"
        try:
            async with asyncio.timeout(_LOOK):
                return await (self._get() if self._ready.path else _connect(self._url))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return str(error) or f"no answer within {_LOOK:g} s"

    async def _get(self) -> str:
        parts = urlsplit(self._url)
        path = self._ready.path
        async with (
            aiohttp.ClientSession(headers=self._headers) as client,
            client.get(f"{parts.scheme}://{parts.netloc}{path}", allow_redirects=False) as response,
        ):
            return "" if response.status < 400 else f"GET {path} has the status {response.status}"


async def _connect(url: str) -> str:
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.close()
    return ""
