"""Finds a misspelt name that would have no effect, and what was meant."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: how like a known name a misspelt one is, from 0 to 1
_LIKENESS = 0.75
_FIELD = re.compile(r"\{[A-Za-z_]+\}")


def check_fields(what: str, words: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UsageError` for a field in braces that is like a known one.

    Other words in braces stay, because a command can have some of its own. So does a word with white space, which is a program text.
    """
    fields = [*known]
    for word in words:
        for field in _FIELD.findall(word) if not re.search(r"\s", word) else ():
            if field not in fields and (meant := _like(field, fields)):
                raise UsageError(f"{what}: {field} stands for nothing; did you mean {meant}?")


def check_member(what: str, name: str, known: Iterable[str]) -> None:
    """Raise `UsageError` for a name that is not one of the known ones."""
    names = sorted(known)
    if name not in names:
        meant = _like(name, names)
        raise UsageError(
            f"{what}: {name!r} is not a member of a server entry"
            + (f"; did you mean {meant!r}?" if meant else f": {', '.join(names)}")
        )


def _like(name: str, known: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, 1, _LIKENESS)), "")
