"""What the callers of a group learn while it needs a sign-in.

Before a client names the group, a call would fail with what to do. If there are tokens, the group tries them once in
``TRY_AGAIN`` meanwhile, because the server may take them again. After that, the sign-in begins, and calls wait for it for a moment:
some authorization servers know the user already. If the client can show a page to its user, calls wait for the answer too. Then they fail
with the address of the page and the command for a terminal, and the sign-in goes on.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from dynamic_mcp.errors import SignInNeeded, UpstreamError
from dynamic_mcp.groups.state import GroupState
from dynamic_mcp.log import log
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream.base import Connector

#: Seconds for the steps of a sign-in before the browser opens. Only they show whether a sign-in is possible.
SIGN_IN_BEGIN = 2.0
#: Seconds that calls wait for the user who agreed to sign in. Many clients give up a call after 60 s.
SIGN_IN_PATIENCE = 40.0
#: Seconds until a group that no client names tries its tokens again.
TRY_AGAIN = 60.0
#: Seconds after which the address in the failure of calls is brought up to date.
LOOK_AGAIN = 1.0

WAITS = "it waits for you to sign in, in the browser"
NEEDED = "it needs you to sign in"


class WaitEnd(enum.Enum):
    """Why the wait before a sign-in has ended."""

    NAMED = enum.auto()
    SIGNED_IN_ELSEWHERE = enum.auto()
    #: the server may take the tokens now
    TIME = enum.auto()


class SigningIn:
    """The sign-ins of one group."""

    def __init__(self, name: str, connector: Connector, state: GroupState) -> None:
        self._name = name
        self._connector = connector
        self._state = state
        #: whether a client has named the group since the last connection
        self.is_named = False
        #: whether the user has signed in since the last connection; if so, the server must not open a second browser window
        self.has_signed_in = False
        self._questions = TaskSet()
        self._question: asyncio.Task[None] | None = None
        self._has_agreed = False

    @property
    def waits_for_clients(self) -> bool:
        """Whether a sign-in begins only once a client names the group."""
        return not self.is_named and not self._connector.signs_in_at_start

    async def wait_until_named(self, need: SignInNeeded) -> WaitEnd:
        """Wait until a client names the group, the user has signed in elsewhere, or tokens are to be tried again."""
        if not self.waits_for_clients:
            return WaitEnd.NAMED
        named, end = anyio.Event(), WaitEnd.TIME
        self._fail(NEEDED, need)
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                nonlocal end
                # If the store fails, the sign-in that follows reports it.
                with suppress(UpstreamError):
                    await self._connector.signed_in_elsewhere()
                    end = WaitEnd.SIGNED_IN_ELSEWHERE
                    tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            with (
                self._state.backoff(named.set, at_once=True),
                anyio.move_on_after(TRY_AGAIN if need.may_pass else None),
            ):
                await named.wait()
            tasks.cancel_scope.cancel()
        return WaitEnd.NAMED if named.is_set() else end

    async def run(self, need: SignInNeeded) -> None:
        """Let the user sign in, and tell the callers. Raises UpstreamError if that does not succeed."""
        self._question, self._has_agreed = None, False
        telling = asyncio.get_running_loop().create_task(self._tell_callers(need))
        try:
            await self._connector.sign_in(need)
        finally:
            telling.cancel()
            self._state.asks_the_user = False

    def on_page(self, page: SignInPage, show: Callable[[SignInPage], Awaitable[bool]]) -> None:
        """Let the client show a page; without an answer of the client, the browser opens."""
        self._has_agreed = False
        self._question = self._questions.start(self._ask(page, show))

    async def close(self) -> None:
        """End every question."""
        await self._questions.close()

    async def _ask(self, page: SignInPage, show: Callable[[SignInPage], Awaitable[bool]]) -> None:
        try:
            self._has_agreed = await show(page)
        except UpstreamError as error:
            log.info("group %s: the client does not show the page of the sign-in: %s", self._name, error)
            await page.open_browser()

    async def _tell_callers(self, need: SignInNeeded) -> None:
        self._state.asks_the_user = True
        await asyncio.sleep(SIGN_IN_BEGIN)
        if self._question is not None:
            await asyncio.wait({self._question})
            if self._has_agreed:
                await asyncio.sleep(SIGN_IN_PATIENCE)
        self._state.asks_the_user = False
        told = ""
        while True:
            if (remedy := self._connector.sign_in_help()) != told:
                self._fail(WAITS, need)
                told = remedy
            await asyncio.sleep(LOOK_AGAIN)

    def _fail(self, reason: str, need: SignInNeeded) -> None:
        self._state.set_failed(reason, need.last_output, self._connector.sign_in_help(), level=logging.INFO)
