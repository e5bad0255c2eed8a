"""The Bearer challenge of a ``WWW-Authenticate`` header, among other schemes and text in quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.oauth.challenge import Challenge, challenge_of

M = "https://mcp.test/meta?a=b"
WORDS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, Challenge()),
        ("", Challenge()),
        ("Bearer", Challenge()),
        ("bearer ", Challenge()),
        ('Basic realm="x"', Challenge()),
        (f'Bearer resource_metadata="{M}"', Challenge(M)),
        (f"Bearer resource_metadata={M}", Challenge(M)),
        (f'BEARER realm="x", Resource_Metadata="{M}", scope="a b"', Challenge(M, "a b")),
        ('Bearer error = "insufficient_scope" , scope= "a"', Challenge(None, "a", "insufficient_scope")),
        ("Bearer error=invalid_token", Challenge(error="invalid_token")),
        ('Bearer error="invalid_token" scope="a"', Challenge(None, "a", "invalid_token")),
        ('Bearer scope=""', Challenge(scope="")),
        ('Bearer scope="a", scope="b"', Challenge(scope="a")),
        ('Bearer , ,scope="a",', Challenge(scope="a")),
        # Other schemes before and after.
        ('Basic realm="x", Bearer scope="a"', Challenge(scope="a")),
        ('Basic realm="x",Bearer scope="a"', Challenge(scope="a")),
        ("Negotiate, Bearer scope=a", Challenge(scope="a")),
        ("Negotiate YII/x+y==, Bearer scope=a", Challenge(scope="a")),
        ('Digest scope="no", error="no", Bearer scope="a"', Challenge(scope="a")),
        ('Bearer scope="a", Basic error="no"', Challenge(scope="a")),
        ('Bearer scope="a", DPoP algs="ES256", error="no"', Challenge(scope="a")),
        ('Bearer, Basic scope="no"', Challenge()),
        ('Bearer scope="a", Bearer scope="b", error="no"', Challenge(scope="a")),
        # Similar to a challenge.
        ('Basic realm="say bearer now", Bearer scope="a"', Challenge(scope="a")),
        ('Basic realm="x, Bearer scope=no"', Challenge()),
        (r'Basic realm="\", Bearer scope=no"', Challenge()),
        ('Basic bearer_x=1, scope="no"', Challenge()),
        ('Basic bearer="x", scope="no"', Challenge()),
        ('Bearerish scope="no"', Challenge()),
        ('Bearer my_scope="no", scope_x="no", xscope="no"', Challenge()),
        # In quotes.
        (r'Bearer scope="a\"b\\c\d"', Challenge(scope=r'a"b\cd')),
        ('Bearer error_description="no, scope=x", scope="a"', Challenge(scope="a")),
        # Broken.
        ('Bearer scope="a", error="open', Challenge(scope="a")),
        ("Bearer =, scope=a", Challenge(scope="a")),
    ],
)
def test_bearer_challenge_of_a_header(header: str | None, found: Challenge) -> None:
    assert challenge_of(header) == found


def quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


@given(
    st.lists(st.tuples(WORDS, TEXTS)),
    TEXTS,
    TEXTS,
    st.lists(st.tuples(WORDS, TEXTS)),
    st.sampled_from([",", ", ", " , "]),
)
def test_bearer_challenge_is_found_beside_quoted_text(
    before: list[tuple[str, str]], scope: str, error: str, after: list[tuple[str, str]], comma: str
) -> None:
    others = [f"Digest x={quoted(text)}{comma}{name}={quoted(text)}" for name, text in before]
    ours = f"Bearer x={quoted(error)}{comma}scope={quoted(scope)}{comma}error={quoted(error)}"
    rest = [f"Digest x={quoted(text)}{comma}{name}={quoted(text)}" for name, text in after]

    assert challenge_of(comma.join([*others, ours, *rest])) == Challenge(None, scope, error)


@given(st.lists(st.tuples(WORDS, TEXTS), min_size=1))
def test_text_in_quotes_is_never_a_challenge(parameters: list[tuple[str, str]]) -> None:
    header = "Digest " + ", ".join(
        f"{name}={quoted(f'x, Bearer scope=no, {text}')}" for name, text in parameters
    )

    assert challenge_of(header) == Challenge()


@given(st.text(st.characters(codec="latin-1"), max_size=200))
def test_any_header_can_be_parsed(header: str) -> None:
    assert isinstance(challenge_of(f"Bearer {header}"), Challenge)
