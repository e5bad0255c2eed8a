"""A sign-in begins when a client names the group, and its callers learn where the user signs in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamic_mcp.errors import SignInNeeded, StoreFailed, UpstreamFailed
from dynamic_mcp.groups.signing_in import (
    LOOK_AGAIN,
    NEEDED,
    SIGN_IN_BEGIN,
    SIGN_IN_PATIENCE,
    TRY_AGAIN,
    WAITS,
    SigningIn,
    WaitEnd,
)
from dynamic_mcp.groups.state import GroupState, State
from dynamic_mcp.sign_in_page import SignInPage
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.fakes import NoConnector
from tests.dynamic_mcp.helpers import eventually

NEED = SignInNeeded("sign in", "the words of the server")


class Server(NoConnector):
    """A server that needs a sign-in, which a test ends."""

    signs_in_at_start = False

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.elsewhere = asyncio.Event()
        self.store_failure: Exception | None = None
        self.help = "To sign in, run: x"

    async def sign_in(self, need: SignInNeeded) -> None:
        await self.over.wait()

    async def signed_in_elsewhere(self) -> None:
        if self.store_failure is not None:
            raise self.store_failure
        await self.elsewhere.wait()

    def sign_in_help(self, *, pending: bool = False) -> str:
        return self.help


class Case:
    """One group of such a server."""

    def __init__(self) -> None:
        self.server = Server()
        self.state = GroupState("a")
        self.signing_in = SigningIn("a", self.server, self.state)
        self.opened = 0
        self.page = SignInPage("https://as.test/authorize", self._open)

    async def _open(self) -> None:
        self.opened += 1

    async def failure(self, reason: str) -> UpstreamFailed:
        await eventually(lambda: str(self.state.failure) == reason, reason)
        assert self.state.failure is not None
        return self.state.failure


@pytest.fixture
async def case() -> Case:
    return Case()


def background(work: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


async def test_group_waits_until_a_client_names_it(case: Case) -> None:
    waiting = background(case.signing_in.wait_until_named(NEED))
    failure = await case.failure(NEEDED)
    assert (failure.remedy, failure.last_output) == ("To sign in, run: x", "the words of the server")

    case.state.try_again()
    assert await asyncio.wait_for(waiting, 5) is WaitEnd.NAMED
    assert case.state.failure is None
    assert case.state.current is State.STARTING


@pytest.mark.parametrize("way", ["named before", "at the start"])
async def test_wanted_sign_in_begins_at_once(case: Case, way: str) -> None:
    case.signing_in.is_named = way == "named before"
    case.server.signs_in_at_start = way == "at the start"
    assert await case.signing_in.wait_until_named(NEED) is WaitEnd.NAMED
    assert case.state.failure is None


@pytest.mark.parametrize("has_tokens", [True, False])
async def test_group_that_waits_for_a_client_tries_its_tokens_now_and_then(
    case: Case, has_tokens: bool
) -> None:
    need = SignInNeeded("sign in")
    need.may_pass = has_tokens
    waiting = background(case.signing_in.wait_until_named(need))
    await skip(TRY_AGAIN - 1.0)
    assert not waiting.done()
    await skip(1.0)
    assert waiting.done() is has_tokens
    assert str(case.state.failure) == NEEDED
    if not has_tokens:
        case.state.try_again()
    assert await asyncio.wait_for(waiting, 5) is (WaitEnd.TIME if has_tokens else WaitEnd.NAMED)


async def test_sign_in_elsewhere_ends_the_wait(case: Case) -> None:
    waiting = background(case.signing_in.wait_until_named(NEED))
    await case.failure(NEEDED)
    case.server.elsewhere.set()
    assert await asyncio.wait_for(waiting, 5) is WaitEnd.SIGNED_IN_ELSEWHERE


async def test_group_waits_for_a_client_although_the_store_fails(case: Case) -> None:
    case.server.store_failure = StoreFailed("the keyring is locked")
    waiting = background(case.signing_in.wait_until_named(NEED))
    await case.failure(NEEDED)
    await asyncio.sleep(0.05)
    case.state.try_again()
    assert await asyncio.wait_for(waiting, 5) is WaitEnd.NAMED


async def test_callers_learn_the_address_as_soon_as_it_is_known(case: Case) -> None:
    running = background(case.signing_in.run(NEED))
    await skip(SIGN_IN_BEGIN)
    assert (await case.failure(WAITS)).remedy == "To sign in, run: x"
    case.server.help = "Sign in at: y"
    await skip(LOOK_AGAIN)
    assert (await case.failure(WAITS)).remedy == "Sign in at: y"
    case.server.over.set()
    await asyncio.wait_for(running, 5)


@pytest.mark.parametrize("answer", [True, False])
async def test_callers_wait_for_the_answer_of_the_user(case: Case, answer: bool) -> None:
    answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def show(page: SignInPage) -> bool:
        return await answered

    running = background(case.signing_in.run(NEED))
    await asyncio.sleep(0)
    case.signing_in.on_page(case.page, show)
    await skip(SIGN_IN_BEGIN)
    assert case.state.failure is None
    assert case.state.asks_the_user

    answered.set_result(answer)
    if answer:
        await skip(SIGN_IN_PATIENCE - 1.0)
        assert case.state.failure is None
        await skip(1.0)
    await case.failure(WAITS)
    assert case.opened == 0
    running.cancel()
    await case.signing_in.close()


async def test_browser_opens_if_the_client_does_not_show_the_page(case: Case) -> None:
    async def show(page: SignInPage) -> bool:
        raise UpstreamFailed("the client does not know this method")

    case.signing_in.on_page(case.page, show)
    await eventually(lambda: case.opened, "the browser opens")
    assert case.opened == 1
