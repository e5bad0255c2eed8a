"""The place where two JSON values differ is named, and equal values have none."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.workbench.differences import Number, first_difference


@pytest.mark.parametrize(
    ("expected", "seen", "difference"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, None),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, None),
        ({"a": {"b/c": 1}}, {"a": {"b/c": 2}}, ("at /a/b~1c: 1", "at /a/b~1c: 2")),
        ({"a": 1}, {}, ("at /a: a member", "at /a: no member")),
        ({}, {"a": 1}, ("at /a: no member", "at /a: a member")),
        ([1, 2], [1], ("2 elements", "1 elements: [1]")),
        ([0, [1]], [0, [True]], ("at /1/0: 1", "at /1/0: true")),
        ("abcX", "abcY", ('after 3 equal characters, "abcX"', 'after 3 equal characters, "abcY"')),
        ("abc", "ab", ('after 2 equal characters, "abc"', 'after 2 equal characters, "ab"')),
        (None, False, ("null", "false")),
        (Number("1.0", 1.0), Number("1", 1.0), None),
        (Number("1.5", 1.5), Number("1.25", 1.25), ("1.5", "1.25")),
    ],
)
def test_the_first_difference_is_named(expected: Any, seen: Any, difference: tuple[str, str] | None) -> None:
    assert first_difference(expected, seen) == difference


def test_a_long_text_is_shown_around_the_place() -> None:
    long = "x" * 1_000_000
    difference = first_difference({"text": f"{long}a{long}"}, {"text": f"{long}b{long}"})
    assert difference is not None
    assert difference[0].startswith("at /text: after 1000000 equal characters, ")
    assert len(difference[0]) < 100
