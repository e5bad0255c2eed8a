"""Mistakes in waiting for the browser."""

from __future__ import annotations

import asyncio
import time

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import browser, callback, pkce, signin
from dynamic_mcp.oauth.callback import Callback, CallbackAnswer


@mutant("OAUTH-011")
def compares_the_beginning_of_the_state() -> None:
    replace(pkce.same, lambda given, right: given[:8] == right[:8])


@mutant("OAUTH-012")
def the_first_request_ends_the_wait() -> None:
    right = Callback._judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        status, text = right(self, method, target)
        if status >= 400 and not self._answer.done():
            self._answer.set_result(CallbackAnswer(None, "invalid_callback", None))
        return status, text

    replace(right, wrong)


@mutant("OAUTH-013")
def listens_on_every_address() -> None:
    async def wrong(served: Callback, port: int) -> asyncio.Server:
        return await asyncio.start_server(served.serve, "0.0.0.0", port)

    replace(callback._bind, wrong)


@mutant("OAUTH-020")
def waits_on_after_an_error() -> None:
    right = Callback._judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        return (400, "There is no code.") if "error=" in target else right(self, method, target)

    replace(right, wrong)


@mutant("OAUTH-022")
def gives_the_user_five_seconds() -> None:
    signin.SIGN_IN_TIMEOUT = 5.0


@mutant("OAUTH-023")
def needs_a_browser() -> None:
    async def wrong(url: str, server: str) -> None:
        for command in browser._commands(url):
            if await browser._opens(command):
                return
        raise UpstreamFailed("no browser could be opened")

    replace(browser.show, wrong)


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
