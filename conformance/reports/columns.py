"""The names of the columns of a comparison, and the words that make the same columns again."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from conformance.model.profile import IMPLEMENTATIONS
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.results import RunReport

#: characters of a column's name, and of the mark in it
LONGEST, _LONGEST_MARK = 40, 20


def told_apart(reports: Sequence[RunReport], arguments: Sequence[str]) -> list[RunReport]:
    """The reports, of which no two have the same name. The argument that gave a report marks it, or else its number does."""
    shown = [one_line(report.implementation, LONGEST) for report in reports]
    found = list(reports)
    for name, count in Counter(shown).items():
        places = [place for place, other in enumerate(shown) if other == name]
        for place, mark in zip(places, _marks([arguments[place] for place in places]), strict=True):
            if count > 1:
                label = f"{one_line(name, LONGEST - len(mark) - 3)} ({mark})"
                found[place] = msgspec.structs.replace(found[place], implementation=label)
    return found


def words_again(reports: Sequence[RunReport], arguments: Sequence[str]) -> list[str]:
    """The words after `compare` that make these columns: the name of a bundled profile, or else what the user gave."""
    names = Counter(report.implementation for report in reports)
    return [
        name
        if names[name := report.implementation] == 1 and (IMPLEMENTATIONS / f"{name}.toml").is_file()
        else shlex.quote(argument)
        for report, argument in zip(reports, arguments, strict=True)
    ]


def _marks(arguments: Sequence[str]) -> list[str]:
    for marks in ([one_line(Path(argument).stem) for argument in arguments], [*map(one_line, arguments)]):
        if len(set(marks)) == len(marks) and all(0 < len(mark) <= _LONGEST_MARK for mark in marks):
            return marks
    return [str(number) for number in range(1, len(arguments) + 1)]
