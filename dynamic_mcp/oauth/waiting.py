"""The wait for the user, in this process or beside another one that signs in to the same entry.

A sign-in ends as soon as the store has new tokens. They come from the page of another proxy, from ``dynamic-mcp login``, or from the page
of this process. While another process signs in, no page opens here. The user finishes the page of that process, and its failure is a
failure here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.sign_in_lock import SharedSignIn, SignInLock
from dynamic_mcp.oauth.store import TokenStore
from dynamic_mcp.sign_in_page import SignInPage, login_command

if TYPE_CHECKING:
    from dynamic_mcp.oauth.callback import Callback
    from dynamic_mcp.oauth.signin import ShowAddress

#: Seconds between two looks at the store while a sign-in waits for the user. A keyring takes a process or a prompt for each look.
STORE_POLL = 1.0
KEYRING_POLL = 5.0
#: The same while no client needs the server.
UNUSED_POLL = 3.0


class Declined(UpstreamFailed):
    """The user or the authorization server refused the sign-in, so that another one must not begin by itself."""


class SignInWait:
    """Waits for the sign-ins of one entry, one after the other."""

    def __init__(
        self,
        server: str,
        store: TokenStore,
        has_newer: Callable[[], Awaitable[bool]],
        show_address: ShowAddress | None = None,
        config: Path | None = None,
        *,
        waits_for_others: bool = True,
    ) -> None:
        """``has_newer`` takes new tokens from the store, if there are any. ``config`` is the file to name in messages.

        ``show_address`` shows the page instead of ``on_page`` and the browser. With ``waits_for_others`` a sign-in
        waits for that of another process.
        """
        self._server = server
        self._store = store
        self._has_newer = has_newer
        self._show_address = show_address
        self._waits_for_others = waits_for_others
        self._poll = KEYRING_POLL if store.blocks else STORE_POLL
        #: the command for a sign-in without the proxy
        self.login = login_command(server, config)
        #: takes the page of each sign-in; whether the client shows it
        self.on_page: Callable[[SignInPage], bool] = lambda page: False
        self._page: SignInPage | None = None
        self._address_elsewhere = ""
        self._lock: SignInLock | None = None

    @property
    def help(self) -> str:
        """What the user does to sign in, in lines of their own."""
        address = self._address_elsewhere if self._page is None else self._page.address
        if not address:
            return f"To sign in, run: {self.login}"
        return f"Sign in with a browser on this machine: {address}\nOr run: {self.login}"

    @property
    def anew(self) -> str:
        """The commands for a sign-in that begins without the stored tokens, in two lines."""
        return f"{self.login.replace('login', 'logout', 1)}\nand then: {self.login}"

    async def elsewhere(self) -> None:
        """Return once the user has signed in with another process. Raises StoreFailed."""
        while not await self._has_newer():  # noqa: ASYNC110  # another process gives no event
            await asyncio.sleep(max(UNUSED_POLL, self._poll))

    async def run(self, sign_in: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Return once there are new tokens: from ``sign_in``, which calls ``show``, or from another process.

        Raises Declined, also after a failure in the other process, and what ``sign_in`` raises.
        """
        self._lock, problem = SignInLock(self._store), ""
        try:
            while not self._lock.take() and self._waits_for_others:
                self._address_elsewhere = self._lock.other.address
                if await self._has_newer():
                    return
                await asyncio.sleep(self._poll)
            if await self._has_newer():
                return
            if self._lock.other.problem:
                raise Declined(self._lock.other.problem)
            await self._sign_in_or_adopt(sign_in)
        except Declined as refusal:
            problem = str(refusal)
            raise
        finally:
            self._lock.end(problem)
            self._address_elsewhere = ""
            if self._page is not None:
                self._page.over.set()
                self._page = None

    async def show(self, address: str, server: str, callback: Callback) -> None:
        """Show the page of the sign-in to the user (``signin.ShowAddress``)."""
        from dynamic_mcp.oauth import browser

        async def open_browser() -> None:
            await browser.show(address, server)

        self._page = page = SignInPage(address, open_browser)
        if self._lock is not None:
            self._lock.tell(SharedSignIn(address))
        if self._show_address is not None:
            await self._show_address(address, server, callback)
        elif not self.on_page(page):
            await open_browser()

    async def _sign_in_or_adopt(self, sign_in: Callable[[], Coroutine[Any, Any, None]]) -> None:
        own = asyncio.get_running_loop().create_task(sign_in())
        try:
            while not (await asyncio.wait({own}, timeout=self._poll))[0]:
                if self._page is not None and await self._is_done_elsewhere():
                    return
            await own
        finally:
            own.cancel()
            await asyncio.wait({own})

    async def _is_done_elsewhere(self) -> bool:
        try:
            return await self._has_newer()
        except UpstreamFailed as failure:
            # The own page still works.
            log.debug("group %s: the store cannot be read: %s", self._server, failure)
            return False
