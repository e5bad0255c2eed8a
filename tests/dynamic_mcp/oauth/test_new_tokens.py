"""The rule for new tokens: which requests show that the server has taken one, and when a page opens."""

from __future__ import annotations

import pytest

from dynamic_mcp.errors import SignInMayHelp, SignInNeeded
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.new_tokens import PATIENCE
from dynamic_mcp.oauth.store import FileStore
from tests.dynamic_mcp.clocks import ManualClock
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    DAY,
    Make,
    User,
    accept,
    grant,
    publish,
    refuse,
    renewals,
    stored,
)

pytestmark = pytest.mark.usefixtures("routes")

LIST, CALL = "tools/list", "tools/call a"
NEED = SignInNeeded("it needs you to sign in", challenge=Challenge())


async def must_fail(authorization: Authorization, number: int, kind: str = CALL) -> None:
    """Expect that the refusal of this token leads to the failure of the call alone."""
    with pytest.raises(SignInMayHelp):
        await refuse(authorization, f"{ACCESS}-{number}", Challenge(), kind)


async def must_need_the_user(authorization: Authorization, number: int, kind: str = CALL) -> None:
    with pytest.raises(SignInNeeded):
        await refuse(authorization, f"{ACCESS}-{number}", Challenge(), kind)


async def test_server_that_checks_tokens_only_for_calls_has_not_taken_one(
    make: Make, store: FileStore
) -> None:
    store.save(stored(DAY))
    route = renewals(grant(1))
    clock = ManualClock()
    authorization = make(clock=clock)
    await refuse(authorization, await authorization.bearer(), Challenge(), CALL)
    for _ in range(3):
        await must_fail(authorization, 1)
        accept(authorization, f"{ACCESS}-1", LIST)
        accept(authorization, f"{ACCESS}-1", "tools/call public")
    clock.advance(PATIENCE)

    await must_need_the_user(authorization, 1)
    assert len(route.calls) == 1


async def test_first_refusal_of_another_request_after_a_while_renews(make: Make, store: FileStore) -> None:
    """One tool refuses all tokens. The others took this one, until the server forgot it."""
    store.save(stored(DAY))
    renewals(grant(1), grant(2))
    clock = ManualClock()
    authorization = make(clock=clock)
    await refuse(authorization, await authorization.bearer(), Challenge(), "tools/call odd")
    await must_fail(authorization, 1, "tools/call odd")
    accept(authorization, f"{ACCESS}-1", CALL)
    clock.advance(PATIENCE)

    await refuse(authorization, f"{ACCESS}-1", Challenge(), CALL)
    assert await authorization.bearer() == f"{ACCESS}-2"
    await must_fail(authorization, 2, CALL)
    clock.advance(PATIENCE)
    await must_need_the_user(authorization, 2, CALL)


async def test_sign_in_opens_no_other_page_while_calls_alone_are_refused(make: Make) -> None:
    publish()
    renewals(grant(1, refresh_token=None))
    user, clock = User(), ManualClock()
    authorization = make(user, clock=clock)
    with pytest.raises(SignInNeeded) as raised:
        await refuse(authorization, None, Challenge(), CALL)
    await authorization.sign_in(raised.value)
    for _ in range(3):
        await must_fail(authorization, 1)
        accept(authorization, f"{ACCESS}-1", LIST)
        clock.advance(PATIENCE)
    # The server takes it after all, and forgets it.
    accept(authorization, f"{ACCESS}-1", CALL)
    await must_need_the_user(authorization, 1)


async def test_sign_in_of_another_process_opens_no_page_here(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    publish()
    renewals(grant(1), grant(2), grant(3), grant(4))
    clock = ManualClock()
    one, other = make(clock=clock), make(User(), clock=clock)
    used = [await each.bearer() for each in (one, other)]
    await refuse(one, used[0], Challenge())
    await refuse(other, used[1], Challenge())
    await other.sign_in(NEED)
    await refuse(one, f"{ACCESS}-1", Challenge())
    assert await one.bearer() == f"{ACCESS}-2"

    await must_fail(one, 2)
    clock.advance(PATIENCE)
    for number in (3, 4):
        await refuse(one, f"{ACCESS}-{number - 1}", Challenge())
        await must_fail(one, number)
        clock.advance(PATIENCE)
    # A renewal of the other process is no sign-in.
    accept(one, f"{ACCESS}-4")
    assert await other.tokens.adopt_newer()
    accept(other, f"{ACCESS}-4")
    renewals(grant(5), grant(6))
    await refuse(other, f"{ACCESS}-4", Challenge())
    await refuse(one, f"{ACCESS}-4", Challenge())
    await refuse(one, f"{ACCESS}-5", Challenge())
    clock.advance(PATIENCE)
    await must_need_the_user(one, 6)


async def test_any_request_shows_that_the_server_takes_a_token_that_it_has_not_refused(make: Make) -> None:
    """The server may refuse the first request without a token, and later not know its method."""
    publish()
    route = renewals(grant(1), grant(2))
    authorization = make(User())
    with pytest.raises(SignInNeeded) as raised:
        await refuse(authorization, None, Challenge(), "server/discover")
    await authorization.sign_in(raised.value)
    accept(authorization, f"{ACCESS}-1", "initialize")

    await refuse(authorization, f"{ACCESS}-1", Challenge())
    assert await authorization.bearer() == f"{ACCESS}-2"
    assert len(route.calls) == 2


async def test_same_token_after_a_renewal_is_a_new_one(make: Make, store: FileStore) -> None:
    """Some authorization servers give one token until its end."""
    store.save(stored(DAY))
    route = renewals(grant(0))
    clock = ManualClock()
    authorization = make(clock=clock)

    await refuse(authorization, await authorization.bearer(), Challenge())
    for _ in range(2):
        await must_fail(authorization, 0)
    clock.advance(PATIENCE)
    await must_need_the_user(authorization, 0)
    assert len(route.calls) == 1
