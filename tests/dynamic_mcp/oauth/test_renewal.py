"""The renewal of the tokens of one server: when, in which process, and what a failure changes."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from types import SimpleNamespace

import httpx
import msgspec
import pytest
import respx

from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.oauth import fresh_tokens
from dynamic_mcp.oauth import store as store_module
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.fresh_tokens import MAX_RENEWAL_DELAY, RENEWAL_RETRY_DELAY
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from tests.dynamic_mcp.clocks import ManualClock
from tests.dynamic_mcp.oauth.kit import (
    ACCESS,
    DAY,
    KEY,
    REFRESH,
    TOKEN,
    URL,
    Make,
    SlowAnswer,
    form_of,
    grant,
    publish,
    refuse,
    renewals,
    stored,
    transport,
)

pytestmark = pytest.mark.usefixtures("routes")

# Before the expiry


async def test_no_bearer_without_tokens(make: Make) -> None:
    assert await make().bearer() is None


@pytest.mark.parametrize("left", [301.0, DAY, None])
async def test_token_outside_the_buffer_is_used_unchanged(
    make: Make, store: FileStore, left: float | None
) -> None:
    store.save(stored(left))

    assert await make().bearer() == f"{ACCESS}-0"
    assert not respx.calls


@pytest.mark.parametrize("left", [299.0, 0.0, -DAY])
async def test_token_in_the_buffer_is_renewed_first(make: Make, store: FileStore, left: float) -> None:
    store.save(stored(left, scope="a b"))
    route = renewals(grant(1))

    assert await make().bearer() == f"{ACCESS}-1"
    assert form_of(route.calls.last.request) == {
        "grant_type": "refresh_token",
        "refresh_token": f"{REFRESH}-0",
        "client_id": "app",
        "resource": URL,
    }
    kept = store.load()
    assert kept is not None
    assert kept == stored(number=1, scope="a b", expires_at=kept.expires_at)


async def test_each_refresh_token_is_used_once_also_after_a_restart(make: Make, store: FileStore) -> None:
    store.save(stored())
    route = renewals(grant(1, expires_in=-1), grant(2, expires_in=200), grant(3, expires_in=200), grant(4))
    first, then = make(), Challenge()
    await first.bearer()
    await refuse(first, f"{ACCESS}-1", then)
    assert await first.bearer() == f"{ACCESS}-2"
    assert await make().bearer() == f"{ACCESS}-3"
    assert await make().bearer() == f"{ACCESS}-4"

    used = [form_of(call.request)["refresh_token"] for call in route.calls]
    assert used == [f"{REFRESH}-{number}" for number in range(4)]


@pytest.mark.parametrize("missing", [None, ""])
async def test_old_refresh_token_stays_without_a_new_one(
    make: Make, store: FileStore, missing: str | None
) -> None:
    store.save(stored())
    route = renewals(grant(1, refresh_token=missing, expires_in=200), grant(2))
    await make().bearer()
    kept = store.load()
    assert kept is not None
    assert (kept.access_token, kept.refresh_token) == (f"{ACCESS}-1", f"{REFRESH}-0")

    await make().bearer()
    assert form_of(route.calls.last.request)["refresh_token"] == f"{REFRESH}-0"


async def test_short_tokens_are_renewed_at_half_of_their_lifetime(make: Make, store: FileStore) -> None:
    store.save(stored())
    route = renewals(grant(1, expires_in=60))
    authorization = make()
    for _ in range(5):
        assert await authorization.bearer() == f"{ACCESS}-1"
    assert len(route.calls) == 1


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the dates of tokens be so far in the past."""
    now = time.time
    clock = SimpleNamespace(time=lambda: now() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(fresh_tokens, "time", clock)


@pytest.mark.parametrize("lifetime", [301, 308, 600])
async def test_tokens_that_hardly_outlive_the_buffer_are_not_renewed_again_and_again(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch, lifetime: int
) -> None:
    """Neither in the process that renews them, nor in one that finds them at a refusal."""
    store.save(stored())
    route = renewals(grant(1, expires_in=lifetime), grant(2))
    authorization, other = make(), make()
    assert await other.tokens.load() is not None
    await authorization.bearer()
    assert await other.tokens.adopt_newer()

    pass_time(monkeypatch, lifetime / 2 - 5)
    assert [await one.bearer() for one in (authorization, other)] == [f"{ACCESS}-1"] * 2
    assert len(route.calls) == 1
    pass_time(monkeypatch, lifetime / 2 + 5)
    assert await authorization.bearer() == f"{ACCESS}-2"


@pytest.mark.parametrize(("lifetime", "is_renewed"), [(60, False), (308, True), (3600, False)])
async def test_documented_buffer_holds_for_the_tokens_of_a_sign_in(
    make: Make, monkeypatch: pytest.MonkeyPatch, lifetime: int, is_renewed: bool
) -> None:
    route = renewals(grant(1))
    authorization = make()
    await authorization.tokens.keep_locked(stored(lifetime, lifetime=float(lifetime)))

    pass_time(monkeypatch, 10)
    assert await authorization.bearer() == f"{ACCESS}-{int(is_renewed)}"
    assert route.called is is_renewed


@pytest.mark.parametrize("missing", ["resource", "issuer", "token_endpoint", "client"])
async def test_tokens_that_do_not_name_their_origin_stay_unused(
    make: Make, store: FileStore, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    store.save(msgspec.structs.replace(stored(100.0), **{missing: None}))
    publish()
    route = respx.post(TOKEN).mock(return_value=grant(1))

    assert await make().bearer() is None
    assert not route.called
    assert caplog.text.count("stored tokens of this name are not used") == 1


async def test_tokens_of_dmcp_stay_unused(make: Make, store: FileStore) -> None:
    store.make_directories()
    store.path.write_text(json.dumps({"access_token": "a", "refresh_token": f"{REFRESH}-0"}))

    assert await make().bearer() is None


async def test_registered_client_renews_with_its_secret(make: Make, store: FileStore) -> None:
    client = ClientRegistration(
        "made", KEY, "client_secret_post", "http://127.0.0.1:1/oauth/callback", registered=True
    )
    store.save(stored(client=client))
    route = renewals(grant(1))

    await make(settings=transport(client_id=None)).bearer()
    assert form_of(route.calls.last.request)["client_secret"] == KEY
    kept = store.load()
    assert kept is not None
    assert kept.client == client


# Once


async def test_parallel_requests_share_one_renewal(make: Make, store: FileStore) -> None:
    store.save(stored())
    slow = SlowAnswer(grant(1))
    route = respx.post(TOKEN).mock(side_effect=slow)
    authorization = make()
    callers = [asyncio.create_task(authorization.bearer()) for _ in range(10)]
    await slow.wait_for_first_request()
    slow.go.set()

    assert await asyncio.gather(*callers) == [f"{ACCESS}-1"] * 10
    assert len(route.calls) == 1


async def test_processes_share_one_renewal(make: Make, store: FileStore) -> None:
    store.save(stored())
    slow = SlowAnswer(grant(1, expires_in=60))
    route = respx.post(TOKEN).mock(side_effect=slow)
    first, second = make(), make()
    callers = [asyncio.create_task(one.bearer()) for one in (first, second)]
    await slow.wait_for_first_request()
    slow.go.set()

    assert await asyncio.gather(*callers) == [f"{ACCESS}-1"] * 2
    # Adopted tokens count as fresh, like obtained ones.
    assert [await one.bearer() for one in (first, second)] == [f"{ACCESS}-1"] * 2
    assert len(route.calls) == 1


async def test_tokens_of_another_process_replace_refused_ones(make: Make, store: FileStore) -> None:
    store.save(stored(DAY))
    authorization = make()
    used = await authorization.bearer()
    store.save(stored(DAY, 7))

    await refuse(authorization, used, Challenge())
    assert await authorization.bearer() == f"{ACCESS}-7"
    assert not respx.calls


async def test_refused_tokens_of_another_process_are_renewed(make: Make, store: FileStore) -> None:
    """The server may have forgotten both tokens, and no sign-in is necessary."""
    store.save(stored(DAY))
    authorization = make()
    used = await authorization.bearer()
    store.save(stored(DAY, 7))
    route = renewals(grant(8))
    await refuse(authorization, used, Challenge())
    adopted = await authorization.bearer()
    assert adopted == f"{ACCESS}-7"

    await refuse(authorization, adopted, Challenge())

    assert await authorization.bearer() == f"{ACCESS}-8"
    assert form_of(route.calls.last.request)["refresh_token"] == f"{REFRESH}-7"


async def test_removed_tokens_are_not_renewed_and_not_stored_again(make: Make, store: FileStore) -> None:
    store.save(stored())
    authorization = make()
    await authorization.tokens.load()
    store.delete()

    assert await authorization.bearer() is None
    assert not store.exists()
    assert not respx.calls


async def test_a_damaged_file_is_replaced_by_a_renewal(make: Make, store: FileStore) -> None:
    store.save(stored())
    authorization = make()
    await authorization.tokens.load()
    store.path.write_text("{")
    renewals(grant(1))

    assert await authorization.bearer() == f"{ACCESS}-1"
    assert getattr(store.load(), "access_token", None) == f"{ACCESS}-1"


async def test_tokens_that_could_not_be_stored_are_renewed(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has none then, but no process has removed them."""
    store.save(stored())
    renewals(grant(1, expires_in=1), grant(2))
    authorization = make()
    await authorization.tokens.load()
    save = FileStore.save

    def full(self: FileStore, tokens: Tokens) -> None:
        self.delete()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileStore, "save", full)
    assert await authorization.bearer() == f"{ACCESS}-1"
    monkeypatch.setattr(FileStore, "save", save)
    await authorization.tokens.renew(force=True)
    assert await authorization.bearer() == f"{ACCESS}-2"


async def test_expired_tokens_of_another_process_are_renewed(make: Make, store: FileStore) -> None:
    store.save(stored())
    authorization = make()
    await authorization.tokens.load()
    store.save(stored(-1.0, 7))
    route = renewals(grant(8))

    assert await authorization.bearer() == f"{ACCESS}-8"
    assert form_of(route.calls.last.request)["refresh_token"] == f"{REFRESH}-7"


async def test_new_tokens_are_stored_before_use(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(stored())
    renewals(grant(1))
    authorization = make()
    used_at_save: list[str] = []
    save = FileStore.save

    def watched(self: FileStore, tokens: Tokens) -> None:
        assert authorization.tokens.current is not None
        used_at_save.append(authorization.tokens.current.access_token)
        save(self, tokens)

    monkeypatch.setattr(FileStore, "save", watched)
    assert await authorization.bearer() == f"{ACCESS}-1"
    assert used_at_save == [f"{ACCESS}-0"]


async def test_unstorable_tokens_are_used_and_logged(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(stored())
    renewals(grant(1))

    def full(self: FileStore, tokens: Tokens) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileStore, "save", full)
    assert await make().bearer() == f"{ACCESS}-1"
    assert "cannot be stored: No space left on device" in caplog.text
    assert ACCESS not in caplog.text


async def test_tokens_that_this_process_has_replaced_are_never_taken_from_the_store(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store cannot be written for a long time, so it keeps the tokens of the start."""
    monkeypatch.setattr(fresh_tokens, "_MAX_FORMER", 2)
    store.save(stored())
    count = 6
    route = renewals(*(grant(number) for number in range(1, count)))
    save, broken = FileStore.save, True

    def full(self: FileStore, tokens: Tokens) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        save(self, tokens)

    monkeypatch.setattr(FileStore, "save", full)
    authorization = make()
    for number in range(count - 1):
        await authorization.tokens.load()
        await authorization.tokens.renew(force=True)
        assert not await authorization.tokens.adopt_newer()
        assert await authorization.bearer() == f"{ACCESS}-{number + 1}"
    used = [form_of(call.request)["refresh_token"] for call in route.calls]
    assert used == [f"{REFRESH}-{number}" for number in range(count - 1)]

    # Those of another process still count.
    broken = False
    store.save(stored(DAY, 77))
    assert await authorization.tokens.adopt_newer()
    assert await authorization.bearer() == f"{ACCESS}-77"


async def test_cancelled_caller_does_not_lose_a_rotated_token(make: Make, store: FileStore) -> None:
    store.save(stored())
    slow = SlowAnswer(grant(1))
    route = respx.post(TOKEN).mock(side_effect=slow)
    authorization = make()
    caller = asyncio.create_task(authorization.bearer())
    await slow.wait_for_first_request()
    caller.cancel()
    await asyncio.wait({caller})
    slow.go.set()

    assert await authorization.bearer() == f"{ACCESS}-1"
    kept = store.load()
    assert kept is not None
    assert kept.refresh_token == f"{REFRESH}-1"
    assert len(route.calls) == 1


# Failures


@pytest.mark.parametrize(
    "failure", [503, 429, 403, 404, httpx.ConnectError(KEY), httpx.ReadTimeout(KEY), "<html>"]
)
async def test_failed_renewal_keeps_the_tokens_in_use(
    make: Make, store: FileStore, failure: int | str | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(stored())
    before = store.path.read_bytes()
    route = respx.post(TOKEN)
    if isinstance(failure, Exception):
        route.mock(side_effect=failure)
    elif isinstance(failure, int):
        route.respond(failure)
    else:
        route.respond(content=failure)
    authorization = make()

    assert [await authorization.bearer() for _ in range(3)] == [f"{ACCESS}-0"] * 3
    assert len(route.calls) == 1
    assert store.path.read_bytes() == before
    assert "cannot be renewed now" in caplog.text
    assert not any(secret in caplog.text for secret in (ACCESS, REFRESH, KEY))


async def test_failed_renewal_is_retried(make: Make, store: FileStore) -> None:
    store.save(stored())
    renewals(httpx.Response(503), grant(1))
    clock = ManualClock()
    authorization = make(clock=clock)

    assert await authorization.bearer() == f"{ACCESS}-0"
    assert await authorization.bearer() == f"{ACCESS}-0"
    clock.advance(RENEWAL_RETRY_DELAY)
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_attempts_become_rarer_while_renewals_fail(make: Make, store: FileStore) -> None:
    store.save(stored())
    route = respx.post(TOKEN).respond(503)
    clock = ManualClock()
    authorization = make(clock=clock)
    attempts: list[float] = []
    for second in range(400):
        assert await authorization.bearer() == f"{ACCESS}-0"
        if len(route.calls) > len(attempts):
            attempts.append(second)
        clock.advance(1.0)

    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert pauses[:3] == [2, 4, 8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_RENEWAL_DELAY
    # A refused token cannot be used meanwhile, so its renewal does not wait.
    clock.advance(RENEWAL_RETRY_DELAY)
    route.mock(return_value=grant(1))
    await refuse(authorization, f"{ACCESS}-0", Challenge())
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_calls_go_on_with_a_valid_token_while_the_token_endpoint_hangs(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_tokens, "RENEWAL_PATIENCE", 0.1)
    store.save(stored())
    slow = SlowAnswer(grant(1))
    route = respx.post(TOKEN).mock(side_effect=slow)
    authorization = make()
    callers = [asyncio.create_task(authorization.bearer()) for _ in range(3)]

    async with asyncio.timeout(10):
        assert await asyncio.gather(*callers) == [f"{ACCESS}-0"] * 3
        monkeypatch.setattr(fresh_tokens, "RENEWAL_PATIENCE", 0.0)
        # The next calls do not wait for the same attempt again.
        assert await authorization.bearer() == f"{ACCESS}-0"
        refused = asyncio.create_task(refuse(authorization, f"{ACCESS}-0", Challenge()))
        slow.go.set()
        await refused
    assert await authorization.bearer() == f"{ACCESS}-1"
    assert len(route.calls) == 1
    assert store.load() == authorization.tokens.current


async def test_call_waits_for_the_renewal_if_its_token_expires_soon(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_tokens, "RENEWAL_PATIENCE", 1.0)
    store.save(stored(0.9))
    slow = SlowAnswer(grant(1))
    respx.post(TOKEN).mock(side_effect=slow)
    caller = asyncio.create_task(make().bearer())
    await slow.wait_for_first_request()
    # Nothing but the answer ends the wait.
    assert not (await asyncio.wait({caller}, timeout=0.05))[0]
    slow.go.set()

    assert await caller == f"{ACCESS}-1"


async def test_close_ends_a_renewal_that_no_call_waits_for(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_tokens, "RENEWAL_PATIENCE", 0.0)
    monkeypatch.setattr(fresh_tokens, "RENEWAL_GRACE", 0.05)
    store.save(stored())
    respx.post(TOKEN).mock(side_effect=SlowAnswer(grant(1)))
    authorization, before = make(), asyncio.all_tasks()
    assert await authorization.bearer() == f"{ACCESS}-0"
    assert asyncio.all_tasks() > before

    await authorization.close()
    assert asyncio.all_tasks() == before


async def test_failed_renewal_of_an_expired_token_needs_no_sign_in(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0))
    renewals(httpx.Response(503), grant(1))
    authorization = make()

    with pytest.raises(UpstreamFailed, match="HTTP 503") as raised:
        await authorization.bearer()
    assert not isinstance(raised.value, SignInNeeded)
    assert await authorization.bearer() == f"{ACCESS}-1"


async def test_held_lock_keeps_a_valid_token_in_use(
    make: Make, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT", 0.1)
    store.save(stored())
    async with store.lock():
        assert await make().bearer() == f"{ACCESS}-0"
    assert not respx.calls


@pytest.mark.parametrize("left", [100.0, -1.0])
async def test_refused_grant_needs_the_user_and_is_not_retried(
    make: Make, store: FileStore, left: float
) -> None:
    store.save(stored(left))
    route = respx.post(TOKEN).respond(400, json={"error": "invalid_grant"})
    authorization = make()

    assert await authorization.bearer() is None
    with pytest.raises(SignInNeeded):
        await refuse(authorization, None, Challenge())
    assert await authorization.bearer() is None
    after_a_restart = make()
    assert await after_a_restart.bearer() == (f"{ACCESS}-0" if left > 0 else None)
    assert len(route.calls) == 1


@pytest.mark.parametrize("code", ["invalid_client", "invalid_request", "invalid_target"])
async def test_refusal_of_the_client_or_the_resource_costs_no_stored_token(
    make: Make, store: FileStore, code: str
) -> None:
    store.save(stored(-1.0))
    respx.post(TOKEN).respond(400, json={"error": code})

    assert await make().bearer() is None
    kept = store.load()
    assert kept is not None
    assert kept.refresh_token == f"{REFRESH}-0"


async def test_expired_token_without_a_refresh_token_is_not_sent(make: Make, store: FileStore) -> None:
    store.save(stored(-1.0, refresh_token=None))

    assert await make().bearer() is None
    assert not respx.calls


async def test_token_without_a_refresh_token_is_used_until_it_expires(make: Make, store: FileStore) -> None:
    store.save(stored(100.0, refresh_token=None))

    assert await make().bearer() == f"{ACCESS}-0"
    assert not respx.calls
