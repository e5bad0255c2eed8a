"""The address of a sign-in is harmless text, and leads where it seems to lead."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.address import MAX_ADDRESS, base_of, checked, host_of


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://as.test/authorize?a=1#x", "https://as.test/authorize"),
        ("https://AS.test:8443/a/b", "https://as.test:8443/a/b"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[::1]:8080/a", "https://[::1]:8080/a"),
        ("https://b\u00fccher.test/a", "https://xn--bcher-kva.test/a"),
        ("https://as.test/%20%zz/\u00e9", "https://as.test/%20%25zz/%C3%A9"),
        ("https://as.test/\x1b[2K", "https://as.test/%1B%5B2K"),
        ("https://as.test/`touch x`", "https://as.test/%60touch%20x%60"),
        ("https://as.test/$(x)\"';|&\\<>*", "https://as.test/%24%28x%29%22%27%3B%7C%26%5C%3C%3E%2A"),
        ("https://as.test/\u202egnp", "https://as.test/%E2%80%AEgnp"),
    ],
)
def test_address_is_ascii_and_percent_encoded(endpoint: str, base: str) -> None:
    assert base_of(endpoint) == base


@pytest.mark.parametrize(
    "endpoint",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "-flag",
        "",
        "https://",
        "https://user@as.test/",
        "https://accounts.test@evil.test/",
        "https://evil.test\\@accounts.test/",
        "https://evil.test\\.accounts.test/",
        "https://as.test`x`/",
        "https://as.test%00/",
        "https://127%2e0%2e0%2e1/",
        "https://as.test:port/",
        "https://[::1/",
        "https://[fe80::1%25lo]/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://-as.test/",
        "https://as .test/",
        "https://as\u202e.test/",
    ],
)
def test_address_without_a_plain_host_is_refused(endpoint: str) -> None:
    with pytest.raises(UpstreamFailed, match="the address of its authorization endpoint"):
        base_of(endpoint)


@given(
    st.text(st.characters(codec="utf-8", categories=None), max_size=30)
    | st.text("/\\%`$(){}[]|;&<>\"'*?! \x1b\n\x00a1", max_size=30)
)
def test_no_path_has_a_meaning_elsewhere(path: str) -> None:
    base = base_of(f"https://as.test/{path}")
    assert re.fullmatch(r"https://as\.test/[A-Za-z0-9/%:@=,+._~-]*", base)
    # A shell takes it as one word without a change.
    assert shlex.split(base) == [base]
    assert host_of(base) == "as.test"


def test_longer_address_is_refused() -> None:
    assert checked("a" * MAX_ADDRESS)
    with pytest.raises(UpstreamFailed, match="longer than"):
        checked("a" * (MAX_ADDRESS + 1))
