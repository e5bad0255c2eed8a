"""A draft of a profile: what a person tells `profile` that it cannot find out, such as another form of the configuration file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.errors import UsageError
from conformance.model.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: the tables that a draft can have
TABLES = ("absent", "client", "config", "entries", "log_switch", "settings", "tokens")


@dataclass(frozen=True)
class Draft:
    """The tables of a draft, as text and as a profile."""

    tables: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    profile: Profile = field(default_factory=lambda: Profile(""))

    @staticmethod
    def read(file: Path) -> Draft:
        """Read a file. Raises `UsageError` for one that is no profile, or has more than the tables of a draft."""
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise UsageError(f"--draft: {file}: {problem}") from problem
        profile = Profile.parse(text, f"--draft: {file}")
        tables = tomllib.loads(text)
        if other := sorted(tables.keys() - set(TABLES)):
            raise UsageError(
                f"--draft: {file}: {other[0]} is for the finished profile; a draft has {', '.join(TABLES)}, "
                "and the command is after --"
            )
        return Draft(tables, profile)

    def table(self, name: str) -> dict[str, Any]:
        """A table; empty if the draft lacks it."""
        return self.tables.get(name, {})
