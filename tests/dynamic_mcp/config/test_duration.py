"""Durations: their syntax, their values and their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.config.duration import seconds

YEAR = 366 * 24 * 3600
UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("1min", 60.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("007s", 7.0),
        (30, 30.0),
        (YEAR, float(YEAR)),
    ],
)
def test_durations_are_parsed(written: str | int, meant: float) -> None:
    assert seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5",
        "s",
        "5 s",
        " 5s",
        "5s\n",
        "-5s",
        "+5s",
        "1.5s",
        "5S",
        "5d",
        "5sec",
        "\u0665s",
        "5s5s",
        "1e3s",
        "9999999999s",
    ],
)
def test_other_text_is_refused_without_showing_it(written: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a duration$"):
        seconds(written)


@pytest.mark.parametrize(
    "written", [0, -1, YEAR + 1, -(10**400), 10**400, "0s", "0ms", f"{YEAR + 1}s", "999999999min"]
)
def test_zero_and_more_than_a_year_are_refused(written: str | int) -> None:
    with pytest.raises(ValueError, match=r"^must be more than zero and at most a year$"):
        seconds(written)


@given(st.integers(1, 999_999_999), st.sampled_from(sorted(UNITS)))
def test_any_number_in_any_unit(number: int, unit: str) -> None:
    meant = number * UNITS[unit]
    if meant <= YEAR:
        assert seconds(f"{number}{unit}") == pytest.approx(meant)
    else:
        with pytest.raises(ValueError, match="at most a year"):
            seconds(f"{number}{unit}")
