"""Sizes in the configuration: ``"512KiB"``, ``"64MB"``, ``"2GiB"``, or a number of bytes."""

from __future__ import annotations

import re

from dynamic_mcp.config.mistakes import Mistakes

_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_SIZE = re.compile(r"([0-9]{1,15})([KMG]i?B|B)")
_MAX_SIZE = 1 << 50

SIZE_SYNTAX = 'a whole number of bytes, or a string such as "512KiB", "64MB" or "2GiB"'


def size(value: str | int) -> int:
    """The size in bytes. Raises ValueError, without the value, for anything but a positive size."""
    if isinstance(value, int):
        result = value
    elif match := _SIZE.fullmatch(value):
        result = int(match.group(1)) * _UNITS[match.group(2)]
    else:
        raise ValueError("is not a size")
    if not 0 < result <= _MAX_SIZE:
        raise ValueError("must be more than zero and at most a pebibyte")
    return result


def read(name: str, value: str | int | None, mistakes: Mistakes) -> int | None:
    """The size of a member at the top of the file, in bytes; None if it is absent or wrong."""
    try:
        return None if value is None else size(value)
    except ValueError as error:
        mistakes((name,), f"{error}; write {SIZE_SYNTAX}")
        return None


def text(size: int) -> str:
    """A size in the syntax of the configuration, in the largest unit that divides it."""
    unit, factor = max((item for item in _UNITS.items() if size % item[1] == 0), key=lambda item: item[1])
    return f"{size // factor}{unit}"
