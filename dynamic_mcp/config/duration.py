"""Durations in the configuration: ``"500ms"``, ``"5s"``, ``"1min"``, ``"2m"``, ``"1h"``, or a number of seconds."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|min|m|h)")
_MAX_SECONDS = 366 * 24 * 3600

DURATION_SYNTAX = 'a whole number of seconds such as 30, or a string such as "500ms", "5s", "1min" or "1h"'


def of_word(word: str) -> float:
    """The duration in seconds of a word on a command line, where a number is a text too. Raises ValueError as ``seconds``."""
    return seconds(int(word) if re.fullmatch("[0-9]{1,9}", word) else word)


def seconds(value: str | int) -> float:
    """The duration in seconds. Raises ValueError, without the value, for anything but a positive duration."""
    if isinstance(value, int):
        result: float = value
    elif match := _DURATION.fullmatch(value):
        result = int(match.group(1)) * _UNITS[match.group(2)]
    else:
        raise ValueError("is not a duration")
    if not 0 < result <= _MAX_SECONDS:
        raise ValueError("must be more than zero and at most a year")
    # Only after the check, because JSON allows integers that are too large for a float.
    return float(result)
