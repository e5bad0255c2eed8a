"""Mistakes in waiting for the browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import defaultdict
from typing import Any
from unittest.mock import patch

from conformance.mutants import mutant, replace, wire_oauth
from conformance.mutants.wire_oauth import Page
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import browser, pkce, signin
from dynamic_mcp.oauth.callback import Callback, CallbackAnswer


@mutant("OAUTH-011")
def compares_the_beginning_of_the_state() -> None:
    replace(pkce.same, lambda given, right: given[:8] == right[:8])


@mutant("OAUTH-012")
def the_first_request_ends_the_wait() -> None:
    """dmcp 1.5.0 behaves like this: it accepts a single connection."""
    right = Callback.wait
    refused: defaultdict[Callback, asyncio.Event] = defaultdict(asyncio.Event)

    async def look(
        callback: Callback, head: bytes, writer: asyncio.StreamWriter
    ) -> tuple[bytes, asyncio.StreamWriter | Page]:
        def seen(response: bytes) -> bytes:
            if b" 200 " not in response[:20]:
                refused[callback].set()
            return response

        return head, Page(writer, seen)

    async def wrong(self: Callback) -> CallbackAnswer:
        answer, refusal = asyncio.ensure_future(right(self)), asyncio.ensure_future(refused[self].wait())
        await asyncio.wait((answer, refusal), return_when=asyncio.FIRST_COMPLETED)
        return CallbackAnswer(None, "invalid_callback", None) if refusal.done() else answer.result()

    wire_oauth.around_callbacks(look)
    replace(right, wrong)


@mutant("OAUTH-013")
def listens_on_every_address() -> None:
    right = asyncio.start_server

    async def wrong(served: Any, host: str, port: int, **more: Any) -> asyncio.Server:
        return await right(served, "0.0.0.0", port, **more)

    patch.object(asyncio, "start_server", wrong).start()


@mutant("OAUTH-020")
def waits_on_after_an_error() -> None:
    """For ever."""

    async def wrong(
        callback: Callback, head: bytes, writer: asyncio.StreamWriter
    ) -> tuple[bytes, asyncio.StreamWriter]:
        return head.replace(b"error=", b"trouble="), writer

    wire_oauth.around_callbacks(wrong)


@mutant("OAUTH-022")
def gives_the_user_five_seconds() -> None:
    signin.SIGN_IN_TIMEOUT = 5.0


@mutant("OAUTH-023")
def needs_a_browser() -> None:
    """dmcp 1.5.0 behaves like this."""
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        if not shutil.which(os.environ.get("BROWSER", "").partition(" ")[0]):
            raise UpstreamFailed("no browser could be opened")
        await right(url, server)

    replace(right, wrong)


@mutant(
    "OAUTH-027",
    also=dict.fromkeys(
        ("OAUTH-002", "OAUTH-009", "OAUTH-018", "OAUTH-021"), "several sign-ins take too long"
    ),
)
def everything_waits_for_the_user() -> None:
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(url, server)
        time.sleep(6)  # noqa: ASYNC251 - that is the mistake; long enough to be seen, short enough for sign-ins to succeed

    replace(right, wrong)
