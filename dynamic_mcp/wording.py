"""Error messages of msgspec in plain words, for the author of the JSON."""

from __future__ import annotations

import re

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
    what, _, path = str(error).partition(" - at `")
    location = ".".join(
        part for part in (where, path.rstrip("`").removeprefix("$").removeprefix(".")) if part
    )
    if (name := missing_member(what)) is not None:
        return f"{name!r} is missing" if not location else f"{location}: {name!r} is missing"
    return f"{location or 'the value'} {wrong_type(what) or 'is not valid'}"
