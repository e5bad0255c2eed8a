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
    from conformance.model.client_table import Ready
    from conformance.workbench.launched import Launched

_POLL = 0.03
#: seconds for one look whether the program listens
_LOOK = 1.0


async def wait_until_it_listens(url: str, ready: Ready, launched: Launched, within: float) -> None:
    """Return when the program listens at the URL. Raises `Violation` if it has ended, or after `within` seconds."""
    deadline = time.monotonic() + extended(within)
    expected = f"the program listens at {url} within {within:g} s"
    while True:
        seen = await _look(url, ready, launched)
        if seen is None:
            return
        if launched.code is not None:
            raise Violation(expected, "it has ended")
        if time.monotonic() > deadline:
            raise Violation(expected, seen, timed=True)
        await anyio.sleep(_POLL)


async def _look(url: str, ready: Ready, launched: Launched) -> str | None:
    """What is missing; None if the program is ready."""
    for name, pattern, capture in (
        ("stderr", ready.stderr, launched.stderr),
        ("stdout", ready.stdout, launched.stdout),
    ):
        if pattern:
            written = capture.data.decode(errors="replace")
            found = re.search(pattern, written, re.MULTILINE) is not None
            return None if found else f"nothing on {name} matches /{pattern}/: {shorten(written[-500:])!r}"
    try:
        async with asyncio.timeout(_LOOK):
            return await (_get(url, ready.path) if ready.path else _connect(url))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return str(error) or f"no answer within {_LOOK:g} s"


async def _connect(url: str) -> None:
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.close()


async def _get(url: str, path: str) -> str | None:
    parts = urlsplit(url)
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{parts.scheme}://{parts.netloc}{path}", allow_redirects=False) as response,
    ):
        return None if response.status < 400 else f"GET {path} has the status {response.status}"
