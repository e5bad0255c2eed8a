"""Collects the mistakes of a configuration, with the members that an object has twice, so that its author reads all of them at once."""

from __future__ import annotations

from typing import NamedTuple

from dynamic_mcp.config.places import Path, Places, has_duplicates
from dynamic_mcp.errors import ConfigError


class _Found(NamedTuple):
    path: Path
    problem: str
    #: the member of the value that is wrong because of its name
    name: str | None


class Mistakes:
    """The mistakes of one file."""

    def __init__(self, text: str, origin: str) -> None:
        """``origin`` names the file."""
        self._text = text
        self.origin = origin
        self._found: list[_Found] = []

    def __call__(self, path: Path, problem: str, name: str | None = None) -> None:
        """Add a mistake once: in the value at ``path``, or in the name of one of its members."""
        mistake = _Found(path, problem, name)
        if mistake not in self._found:
            self._found.append(mistake)

    def check(self) -> None:
        """Raise a ConfigError with all mistakes, if there are any."""
        if not (self._found or has_duplicates(self._text)):
            return
        places = Places(self._text)
        found = [(duplicate.second, places.twice(duplicate)) for duplicate in places.duplicates]
        for path, problem, name in self._found:
            offset = places.of_value(path) if name is None else places.of_name((*path, name))
            found.append((offset, places.mistake(offset, path, problem)))
        raise ConfigError(self.origin, [mistake for _, mistake in sorted(found)])
