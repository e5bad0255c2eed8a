"""The secrets of a sign-in: the example of RFC 7636, their form, and a ``repr`` that hides them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.oauth.pkce import Pkce, new_pkce, new_state, same

BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")


def test_challenge_matches_rfc_7636_appendix_b() -> None:
    pkce = Pkce("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

    assert pkce.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_secrets_are_unique_and_have_43_characters_of_base64url() -> None:
    pairs = [new_pkce() for _ in range(200)]
    words = [word for pair in pairs for word in (pair.verifier, pair.challenge)]
    words += [new_state() for _ in range(200)]

    assert all(BASE64URL.fullmatch(word) for word in words)
    assert len(set(words)) == 600


def test_repr_hides_the_verifier() -> None:
    pair = new_pkce()

    assert pair.verifier not in f"{pair!r} {pair} {[pair]}"


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_strings_can_be_compared(a: str, b: str) -> None:
    assert same(a, b) == (a == b)
    assert same(a, a)
