"""Where two JSON values differ, in words for the person who reads a failure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

#: characters that are shown before and after the first place at which two texts differ
_AROUND = 20


@dataclass(frozen=True)
class Number:
    """A number of a JSON text; two are equal if their values are, however they are written."""

    text: str = field(compare=False)
    value: Any


def first_difference(expected: Any, seen: Any, path: str = "") -> tuple[str, str] | None:
    """What is expected and what is seen at the first place where two JSON values differ, or None if they are equal.

    The place is a JSON pointer, and in two texts also the number of equal characters.
    """
    if isinstance(expected, dict) and isinstance(seen, dict):
        for name in [*expected, *seen]:
            if (name in expected) != (name in seen):
                whole = f"{path}/{_token(name)}"
                return _at(whole, _presence(name in expected)), _at(whole, _presence(name in seen))
        places = ((_token(name), expected[name], seen[name]) for name in expected)
    elif isinstance(expected, list) and isinstance(seen, list):
        if len(expected) != len(seen):
            return _at(path, f"{len(expected)} elements"), _at(path, f"{len(seen)} elements: {_shown(seen)}")
        places = ((str(place), *pair) for place, pair in enumerate(zip(expected, seen, strict=True)))
    elif isinstance(expected, str) and isinstance(seen, str):
        return None if expected == seen else _texts(expected, seen, path)
    else:
        is_equal = type(expected) is type(seen) and expected == seen
        return None if is_equal else (_at(path, _shown(expected)), _at(path, _shown(seen)))
    found = (first_difference(old, new, f"{path}/{name}") for name, old, new in places)
    return next((one for one in found if one is not None), None)


def _texts(expected: str, seen: str, path: str) -> tuple[str, str]:
    pairs = zip_longest(expected, seen)
    same = next(place for place, (old, new) in enumerate(pairs) if old != new)
    part = slice(max(0, same - _AROUND), same + _AROUND)
    where = f"after {same} equal characters, "
    return _at(path, where + _shown(expected[part])), _at(path, where + _shown(seen[part]))


def _presence(is_there: bool) -> str:
    return "a member" if is_there else "no member"


def _at(path: str, what: str) -> str:
    return f"at {path}: {what}" if path else what


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    if isinstance(value, Number):
        return value.text
    return json.dumps(value, default=lambda inner: inner.text)
