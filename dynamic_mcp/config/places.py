"""Finds the members of a JSON text: the line and column of each, and those that an object has twice.

The text may have comments, trailing commas and quotes of JSON5, as the files of other tools do. It has to be valid otherwise, because the
scan does not report mistakes of syntax. A text of 1 MiB takes about a second, so ``load`` scans only a file that has a mistake.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from dynamic_mcp.errors import Mistake

#: The names and indices that lead from the top of a document to a value.
Path: TypeAlias = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    |(?P<mark>[\[\]{},:])
    |(?P<word>[^\s\[\]{},:"'/]+)""",
    re.DOTALL | re.VERBOSE,
)


class Text(NamedTuple):
    """A string value of the document: where its quote is, and what is between the quotes."""

    path: Path
    start: int
    raw: str


class Duplicate(NamedTuple):
    """A member that an object has twice; ``first`` and ``second`` are the positions of its names."""

    path: Path
    first: int
    second: int


class Lines:
    """The lines of a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def position(self, offset: int) -> str:
        """A position as "line 3, column 7", counted from one."""
        line = bisect_right(self._starts, offset)
        return f"line {line}, column {offset - self._starts[line - 1] + 1}"


class Places(Lines):
    """The positions of the members in a text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.duplicates: list[Duplicate] = []
        #: the strings that are values
        self.texts: list[Text] = []
        self._names: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        for path, name, value in _members(text, self):
            if name is not None:
                self._names[path] = name
            self._values[path] = value

    def of_name(self, path: Path) -> int:
        """The offset of the name of a member."""
        return self._names.get(path, 0)

    def of_value(self, path: Path) -> int:
        """The offset of a value; if the document lacks it, of the next value around it."""
        while path and path not in self._values:
            path = path[:-1]
        return self._values.get(path, 0)

    def mistake(self, offset: int, path: Path, problem: str) -> Mistake:
        """The mistake at an offset, in the value at ``path``."""
        return Mistake(self.position(offset), f"{text_of(path)}: {problem}")

    def twice(self, duplicate: Duplicate) -> Mistake:
        """The mistake of a member that an object has twice, with both places."""
        first = self.position(duplicate.first)
        problem = f"{duplicate.path[-1]!r} is there twice, first at {first}; remove or rename one"
        return self.mistake(duplicate.second, duplicate.path[:-1], problem)


def has_duplicates(text: str) -> bool:
    """Whether an object in a valid JSON text has a member twice. Raises RecursionError. Much faster than ``Places``."""
    found = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found |= len(dict(pairs)) != len(pairs)

    # A number as text has no limit of digits.
    json.JSONDecoder(object_pairs_hook=look, parse_int=str, parse_float=str, strict=False).decode(text)
    return found


def text_of(path: Path) -> str:
    """A path as people read it: ``mcpServers.files.args[1]``."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return shown.removeprefix(".") or "the top level"


class _Level:
    """One open bracket of the document."""

    def __init__(self, path: Path, *, is_array: bool) -> None:
        self.path = path
        self.is_array = is_array
        #: the member that comes next: an index, or a name with its position
        self.index = 0
        self.name: tuple[str, int] | None = None
        #: the names so far
        self.names: dict[str, int] = {}


def _members(text: str, places: Places) -> Iterator[tuple[Path, int | None, int]]:
    """The path of each value, with the offsets of its name and of itself. Adds duplicates and texts to ``places``."""
    levels: list[_Level] = []
    for token in _TOKEN.finditer(text):
        found, start = token[0], token.start()
        level = levels[-1] if levels else None
        match token.lastgroup:
            case "mark" if found in "]}":
                if levels:
                    levels.pop()
                continue
            case "mark" if found == ",":
                if level is not None:
                    level.index, level.name = level.index + 1, None
                continue
            case "comment":
                continue
            case "mark" if found == ":":
                continue
        if level is not None and not level.is_array and level.name is None:
            level.name = member = _unquoted(found), start
            if (first := level.names.setdefault(*member)) != start:
                places.duplicates.append(Duplicate((*level.path, member[0]), first, start))
            continue
        path: Path = ()
        name = None
        if level is not None and level.is_array:
            path = (*level.path, level.index)
        elif level is not None and level.name is not None:
            path, name = (*level.path, level.name[0]), level.name[1]
        yield path, name, start
        if found in "[{":
            levels.append(_Level(path, is_array=found == "["))
        elif token.lastgroup == "string":
            places.texts.append(Text(path, start, found[1:-1]))


def _unquoted(name: str) -> str:
    if name[0] not in "\"'":
        return name
    try:
        value: str = json.loads(f'"{name[1:-1]}"', strict=False)
    except ValueError:
        return name[1:-1]
    return value
