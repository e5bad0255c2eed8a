"""What single checks decide from texts alone."""

from __future__ import annotations

import pytest

from conformance.checks.ops import names_the_timeout


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("server 'a' did not answer tools/call within 2.0 s", 2.0),
        ("no answer within 2 s", 2.0),
        ("no answer after 2000ms", 2.0),
        ("gave up after 2.003 seconds", 2.0),
        ("no answer after 500 ms", 0.5),
        ("no answer after .5s", 0.5),
        ("no answer after 0.50 sec", 0.5),
        ("no answer after 500 milliseconds", 0.5),
        ("Request timed out", 10.0),
        ("context deadline exceeded", 30.0),
    ],
)
def test_an_error_names_the_timeout(text: str, limit: float) -> None:
    assert names_the_timeout(text, limit)


@pytest.mark.parametrize("text", ["the call failed", "no answer within 12 s", "2 servers", "error 2"])
def test_an_error_does_not_name_the_timeout(text: str) -> None:
    assert not names_the_timeout(text, 2.0)
