"""The scan finds a secret in every common encoding, and nothing else."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.workbench.leak_scan import leaked

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = 'a+b/c=&d."ä" 0123456789'
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "quoted": quote,
    "component": lambda secret: quote(secret, safe=""),
    "form": lambda secret: urlencode({"x": secret}),
    "json": json.dumps,
    "html": escape,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_found_in_each_form(form: Callable[[str], str]) -> None:
    assert leaked(f"before {form(SECRET)} after", {"it": SECRET})


@given(
    st.binary(max_size=7),
    st.binary(max_size=7),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
def test_a_secret_is_found_anywhere_in_base64(
    before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    assert leaked(encode(before + SECRET.encode() + after).decode(), {"it": SECRET})


def test_a_finding_names_the_secret_and_the_text_around_it() -> None:
    (found,) = leaked("DEBUG token=one-secret!", {"the first": "one-secret", "the second": "two-secret"})

    assert found.startswith("the first, in plain text") and "DEBUG token=" in found


@pytest.mark.parametrize("text", ["", "a state of its own", SECRET[:-1], SECRET.swapcase()])
def test_other_text_is_no_leak(text: str) -> None:
    assert leaked(text, {"it": SECRET}) == []
