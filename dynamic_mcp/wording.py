"""Error messages of msgspec in plain words, for the author of the JSON, and bounds for texts that a message quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Characters of a name or URI in a message, and of a text that the message is about. Names in a list.
MAX_QUOTED = 200
MAX_TEXT = 10_000
MAX_LISTED = 30

_TYPES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
_WRONG_TYPE = re.compile(r"Expected `(.*)`, got `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def wrong_type(message: str) -> str | None:
    """ "must be a string, found a number" for a message about a wrong type; None for any other message."""
    if (wrong := _WRONG_TYPE.fullmatch(message)) is None:
        return None
    # A member that may be null may also be missing, so the text need not mention null.
    expected = [_TYPES.get(name, name) for name in wrong[1].split(" | ") if name != "null"]
    found = {"int": "a number", "float": "a decimal number"}.get(wrong[2]) or _TYPES.get(wrong[2], wrong[2])
    return f"must be {' or '.join(expected)}, found {found}"


def missing_member(message: str) -> str | None:
    """The name of the member for a message about a missing member; None for any other message."""
    missing = _MISSING.fullmatch(message)
    return missing and missing[1]


def explain(error: Exception, where: str = "") -> str:
    """The problem of a JSON value that msgspec refused; ``where`` names the whole value."""
    problem, _, path = str(error).partition(" - at `")
    location = ".".join(
        part for part in (where, path.rstrip("`").removeprefix("$").removeprefix(".")) if part
    )
    if (unknown := _UNKNOWN.fullmatch(problem)) is not None:
        return f"{location + ': ' if location else ''}{cut(unknown[1])!r} is unknown"
    if (name := missing_member(problem)) is not None:
        return f"{name!r} is missing" if not location else f"{location}: {name!r} is missing"
    return f"{location or 'the value'} {wrong_type(problem) or 'is not valid'}"


def cut(text: str, most: int = MAX_QUOTED) -> str:
    """The beginning of a text that the proxy did not write, with its length if the rest is missing."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def name_list(names: Iterable[str]) -> str:
    """Names with commas, at most ``MAX_LISTED``; "none" without one."""
    known = list(names)
    shown = ", ".join(map(cut, known[:MAX_LISTED])) or "none"
    return shown + (f" and {len(known) - MAX_LISTED} more" if len(known) > MAX_LISTED else "")
