"""Finds what decoding hides in the text of a tool's file: members that are there twice, and single backslashes.

JSON5 reads ``C:\\Users`` with one backslash as ``C:Users``, and the last one of two servers of the same name replaces the first. Both
are errors here, with the place, because the tool itself reads something else or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path as File

from dynamic_mcp.config import windows_path
from dynamic_mcp.config.places import Lines, Path, Places, text_of
from dynamic_mcp.errors import ConfigError, Mistake

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
#: what may follow a backslash in JSON, and a line end or quote of JSON5
_KNOWN = frozenset("\"\\/bfnrt'\n\r")
#: the end of the message of ``tomllib``
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_HEADER = re.compile(r"\s*\[")


def check_json(text: str, sections: Iterable[Path], file: File) -> Places:
    """The places of a JSON text. Raises ConfigError with each mistake in the ``sections``, or on the way to them."""
    places = Places(text)
    found = [(one.second, places.twice(one)) for one in places.duplicates if _concerns(one.path, sections)]
    for path, start, raw in places.texts:
        if _concerns(path, sections):
            for escape in _ESCAPE.finditer(raw):
                if escape[1][0] not in _KNOWN and len(escape[1]) == 1:
                    problem = (
                        f"has a single backslash before {escape[1]!r}; write two for each, as in C:\\\\Users"
                    )
                    offset = start + 1 + escape.start()
                    found.append((offset, places.mistake(offset, path, problem)))
    if found:
        raise ConfigError(str(file), [mistake for _, mistake in sorted(found)])
    return places


def _concerns(path: Path, sections: Iterable[Path]) -> bool:
    """Whether a path is in a section, or leads to one."""
    return any(path[: len(section)] == section[: len(path)] for section in sections)


def broken_paths(entry: object, path: Path, places: Places | None) -> Iterator[str]:
    """A note for each text of an entry that looks like a Windows path with escapes, such as a tab, in place of backslashes."""
    for inner, value in _strings(entry):
        if (escape := windows_path.broken_escape(value, is_program=inner == ("command",))) is not None:
            where = f" ({places.position(places.of_value((*path, *inner)))})" if places is not None else ""
            yield windows_path.warning(text_of(inner) + where, escape)


def _strings(value: object) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from (((name, *path), text) for path, text in _strings(inner))


def toml_mistake(text: str, message: str, file: File) -> ConfigError:
    """The error for a TOML text that ``tomllib`` refuses; both places of a table or key that is there twice."""
    at = _AT_LINE.search(message)
    if at is not None and message.startswith(("Cannot declare", "Cannot overwrite", "Cannot mutate")):
        lines, second = text.splitlines(), int(at[1]) - 1
        name = _toml_name(lines[second])
        for first in range(second - 1, -1, -1):
            if _toml_name(lines[first]) == name:
                shown = re.split(r"=", lines[second].strip(), maxsplit=1)[0].strip()
                places = [_toml_place(lines, number) for number in (second, first)]
                problem = f"{shown} is there twice, first at {places[1]}; remove or rename one"
                return ConfigError(str(file), [Mistake(places[0], problem)])
            if not _HEADER.match(lines[second]) and _HEADER.match(lines[first]):
                break
    # The message ends with the position, and contains at most the character there.
    return ConfigError(f"{file}: is not TOML: {message}")


def _toml_name(line: str) -> str:
    """The header of a table, or the key of a line, without spaces and quotes."""
    name = line.partition("]")[0] if _HEADER.match(line) else line.partition("=")[0]
    return re.sub(r"[\s\"']", "", name)


def _toml_place(lines: list[str], number: int) -> str:
    indent = len(lines[number]) - len(lines[number].lstrip())
    return Lines("\n" * number + lines[number]).position(number + indent)
