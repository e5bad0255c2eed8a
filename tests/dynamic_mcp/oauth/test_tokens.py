"""When a token is due and when it has expired, for any clock and lifetime, and the dates in the file."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamic_mcp.oauth.tokens import BUFFER, ClientRegistration, Tokens, expiry

#: seconds since 1970, from 1980 to 2200
CLOCKS = st.floats(315_532_800, 7_258_118_400)
LIVES = st.floats(0, 100 * 365 * 86400)
#: the rounding error of a date in milliseconds and of a float
ROUNDING = 0.002


def issued(now: float, lifetime: float) -> Tokens:
    return Tokens("a", "r", expiry(now, lifetime), lifetime=lifetime)


@given(CLOCKS, LIVES, st.floats(-86400, 86400))
@example(1.7e9, 300.0, 0.0)
@example(1.7e9, 0.0, 0.0)
def test_loaded_token_is_due_inside_the_buffer(now: float, lifetime: float, later: float) -> None:
    left = lifetime - later
    tokens = issued(now, lifetime)
    if abs(left - BUFFER) > ROUNDING:
        assert tokens.is_due(now + later, fresh=False) == (left < BUFFER)
    if abs(left) > ROUNDING:
        assert tokens.is_expired(now + later) == (left < 0)


@given(CLOCKS, st.floats(1, 2 * BUFFER), st.floats(0, 2 * BUFFER))
@example(1.7e9, 301.0, 10.0)
def test_fresh_short_token_is_due_at_half_of_its_lifetime(now: float, lifetime: float, age: float) -> None:
    tokens = issued(now, lifetime)
    if abs(age - lifetime / 2) > ROUNDING:
        assert tokens.is_due(now + age, fresh=True) == (age > lifetime / 2)


@given(CLOCKS, st.floats(2 * BUFFER, 1e9), st.floats(0, 1e9))
def test_fresh_long_token_is_due_inside_the_buffer(now: float, lifetime: float, age: float) -> None:
    tokens = issued(now, lifetime)

    assert tokens.is_due(now + age, fresh=True) == tokens.is_due(now + age, fresh=False)


@given(CLOCKS, LIVES, CLOCKS, st.booleans())
def test_expired_token_is_always_due(now: float, lifetime: float, then: float, fresh: bool) -> None:
    tokens = issued(now, lifetime)

    assert tokens.is_due(then, fresh=fresh) or not tokens.is_expired(then)


@pytest.mark.parametrize(
    ("left", "due"), [(301.0, False), (300.001, False), (300.0, False), (299.999, True), (0.0, True)]
)
def test_exactly_the_buffer_is_not_due(left: float, due: bool) -> None:
    assert Tokens("a", expires_at=expiry(1_700_000_000, left)).is_due(1_700_000_000, fresh=False) is due


@given(CLOCKS, st.booleans())
def test_token_without_an_expiry_is_never_due(now: float, fresh: bool) -> None:
    tokens = Tokens("a", "r")

    assert not tokens.is_due(now, fresh=fresh)
    assert not tokens.is_expired(now)
    assert tokens.seconds_left(now) is None


@given(CLOCKS, LIVES)
def test_expiry_is_stored_in_utc_and_read_back(now: float, lifetime: float) -> None:
    written = expiry(now, lifetime)

    assert written.endswith("Z")
    assert datetime.fromisoformat(written).tzinfo == UTC
    assert Tokens("a", expires_at=written).seconds_left(now) == pytest.approx(lifetime, abs=ROUNDING)


def test_repr_hides_secrets() -> None:
    tokens = Tokens("canary", "canary", "2026-01-31T18:03:17Z", client=ClientRegistration("app", "canary"))

    assert "canary" not in f"{tokens!r} {tokens} {[tokens.client]} {tokens.client}"
