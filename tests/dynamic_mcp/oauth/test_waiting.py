"""Sign-ins of several processes: one page, and each process that waits gets the tokens or the reason."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import respx

from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.oauth import waiting
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.sign_in_lock import SignInLock
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.sign_in_page import login_command
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    CODE,
    DAY,
    TOKEN,
    Make,
    User,
    grant,
    publish,
    query_of,
    stored,
    visit,
)

NEED = SignInNeeded("sign in", challenge=Challenge())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STORE_POLL", 0.02)


async def begun(user: User, authorization: Authorization) -> asyncio.Task[None]:
    """A sign-in whose page waits for the user."""
    task = asyncio.ensure_future(authorization.sign_in(NEED))
    await asyncio.wait_for(user.shown.wait(), 5)
    return task


async def answer(user: User, query: str) -> None:
    """Answer at the page that waits."""
    asked = query_of(user.addresses[0])
    await visit(f"{asked['redirect_uri']}?{query}&state={asked['state']}")


async def test_processes_share_one_page(make: Make, routes: None) -> None:
    publish()
    respx.post(TOKEN).mock(side_effect=[grant(1)])
    first_user, second_user = User(None), User(None)
    first, second = make(first_user), make(second_user)
    one = await begun(first_user, first)
    other = asyncio.ensure_future(second.sign_in(NEED))
    await eventually(
        lambda: first_user.addresses[0] in second.sign_in_help(pending=True), "the other knows the page"
    )

    await answer(first_user, f"code={CODE}")
    await asyncio.wait_for(asyncio.gather(one, other), 5)
    assert await second.bearer() == await first.bearer() == f"{ACCESS}-1"
    assert second_user.addresses == []
    assert second.sign_in_help(pending=True) == ""


async def test_refusal_by_the_user_counts_for_every_process(make: Make, routes: None) -> None:
    publish()
    first_user, second_user = User(None), User(None)
    first, second = make(first_user), make(second_user)
    one = await begun(first_user, first)
    other = asyncio.ensure_future(second.sign_in(NEED))
    await eventually(lambda: "http" in second.sign_in_help(), "the other knows the page")

    await answer(first_user, "error=access_denied")
    for task in (one, other):
        with pytest.raises(UpstreamFailed, match="access_denied"):
            await asyncio.wait_for(task, 5)
    assert second_user.addresses == []
    # A process that begins later does not know of it.
    third_user = User(None)
    third = await begun(third_user, make(third_user))
    third.cancel()


async def test_next_process_takes_over(make: Make, routes: None) -> None:
    publish()
    first_user, second_user = User(None), User(None)
    first, second = make(first_user), make(second_user)
    one = await begun(first_user, first)
    other = asyncio.ensure_future(second.sign_in(NEED))
    await eventually(lambda: "http" in second.sign_in_help(), "the other knows the page")

    await first.close()
    assert one.cancelled() or one.done()
    await asyncio.wait_for(second_user.shown.wait(), 5)
    other.cancel()


async def test_tokens_from_elsewhere_end_the_wait(make: Make, store: FileStore, routes: None) -> None:
    store.save(stored(DAY, 1))
    publish()
    user = User(None)
    authorization = make(user)
    assert await authorization.bearer() == f"{ACCESS}-1"
    task = await begun(user, authorization)
    await asyncio.sleep(0.1)
    assert not task.done()

    store.save(stored(DAY, 2))
    await asyncio.wait_for(task, 5)
    assert await authorization.bearer() == f"{ACCESS}-2"


async def test_unused_server_learns_of_a_sign_in(
    make: Make, store: FileStore, routes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "UNUSED_POLL", 0.02)
    authorization = make(User(None))
    assert await authorization.bearer() is None
    task = asyncio.ensure_future(authorization.signed_in_elsewhere())
    await asyncio.sleep(0.1)
    assert not task.done()

    store.save(stored(DAY, 2))
    await asyncio.wait_for(task, 5)
    assert await authorization.bearer() == f"{ACCESS}-2"


def test_turn_file_is_private_and_empty_after_a_success(store: FileStore, directory: Path) -> None:
    lock, other = SignInLock(store), SignInLock(store)
    assert lock.take()
    assert not other.take()
    [file] = directory.glob("*.signin.lock")
    assert file.stat().st_mode & 0o777 == 0o600
    lock.end()
    lock.end()
    assert file.read_bytes() == b""
    assert other.take()
    other.end("refused")


def test_damaged_turn_file_says_nothing(store: FileStore, directory: Path) -> None:
    lock, other = SignInLock(store), SignInLock(store)
    assert lock.take()
    [file] = directory.glob("*.signin.lock")
    for content in (b"\xff", b"[", b'{"address": 1}', b'{"problem": null}'):
        file.write_bytes(content)
        assert not other.take()
        assert (other.other.address, other.other.problem) == ("", "")
    lock.end()


@pytest.mark.parametrize(
    ("server", "config", "command"),
    [
        ("s", "/a/b.json", "dynamic-mcp login s /a/b.json"),
        ("my server", "/a b/$c.json", "dynamic-mcp login 'my server' '/a b/$c.json'"),
        ("s", None, "dynamic-mcp login s"),
    ],
)
def test_command_is_quoted_for_a_shell(server: str, config: str | None, command: str) -> None:
    assert login_command(server, None if config is None else Path(config)) == command
