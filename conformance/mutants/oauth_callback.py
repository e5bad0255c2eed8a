"""Mistakes in waiting for the browser."""

from __future__ import annotations

import asyncio
import os
import time
import webbrowser
import zlib
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from anyio import to_thread

from conformance.mutants import mutant, replace
from dynamic_mcp.config.oauth import CALLBACK_PATH
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import browser, pkce, signin
from dynamic_mcp.oauth.callback import Callback


@mutant("OAUTH-011")
def compares_the_beginning_of_the_state() -> None:
    replace(pkce.same, lambda given, right: given[:8] == right[:8])


@mutant("OAUTH-011")
def takes_the_first_of_two_states() -> None:
    """dmcp 1.5.0 behaves like this. The reference promises more than the sources demand."""
    right = Callback.judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        path, _, query = target.partition("?")
        return right(
            self, method, f"{path}?{urlencode(dict(reversed(parse_qsl(query, keep_blank_values=True))))}"
        )

    replace(right, wrong)


def states_of_callbacks() -> dict[Callback, str]:
    """The `state` of each callback that is made from now on."""
    begin = Callback.__init__
    states: dict[Callback, str] = {}

    def remember(self: Callback, server_name: str, state: str) -> None:
        begin(self, server_name, state)
        states[self] = state

    replace(begin, remember)
    return states


@mutant("OAUTH-012")
def the_first_request_ends_the_wait() -> None:
    """dmcp 1.5.0 behaves like this: it accepts a single connection."""
    right, states = Callback.judge, states_of_callbacks()

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        status, text = right(self, method, target)
        if status >= 400:
            right(self, "GET", f"{CALLBACK_PATH}?error=invalid_callback&state={quote(states[self])}")
        return status, text

    replace(right, wrong)


@mutant("OAUTH-013")
def listens_on_every_address() -> None:
    """The proxy binds to 0.0.0.0."""
    right = asyncio.start_server

    def wrong(serve: Any, host: str, *more: Any, **named: Any) -> Any:
        return right(serve, "0.0.0.0", *more, **named)

    setattr(asyncio, "start_server", wrong)  # noqa: B010  # mypy does not allow the assignment


@mutant("OAUTH-013")
def listens_on_a_fixed_port() -> None:
    """The reference promises another port for each sign-in."""
    right = asyncio.start_server
    # Each check has a home of its own, so checks at the same time do not share the port.
    fixed = 20000 + zlib.crc32(os.environ["HOME"].encode()) % 12000

    def wrong(serve: Any, host: str, port: int, *more: Any, **named: Any) -> Any:
        return right(serve, host, fixed, *more, **named)

    setattr(asyncio, "start_server", wrong)  # noqa: B010  # mypy does not allow the assignment


@mutant("OAUTH-020")
def waits_on_after_an_error() -> None:
    right = Callback.judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        return (400, "There is no code.") if "error=" in target else right(self, method, target)

    replace(right, wrong)


@mutant("OAUTH-022")
def gives_the_user_five_seconds() -> None:
    """dmcp 1.5.0 behaves like this: 5 s for the whole flow."""
    signin.SIGN_IN_TIMEOUT = 5.0


@mutant("OAUTH-023")
def needs_a_browser() -> None:
    """The flow ends without one. dmcp 1.5.0 behaves like this."""

    async def wrong(url: str, server: str) -> None:
        if not await to_thread.run_sync(webbrowser.open, url):
            raise UpstreamFailed("no browser could be opened")

    replace(browser.show, wrong)


@mutant(
    "OAUTH-027",
    also=dict.fromkeys(("OAUTH-021", "OAUTH-032"), "several sign-ins together take too long"),
)
def everything_waits_for_the_user() -> None:
    """dmcp 1.5.0 behaves like this: it holds a write lock during the flow."""
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(url, server)
        time.sleep(6)  # noqa: ASYNC251  # the mistake: long enough for the check, short enough for sign-ins to succeed

    replace(right, wrong)
