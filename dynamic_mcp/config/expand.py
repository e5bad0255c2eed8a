"""``${VAR}`` expansion: one syntax, one pass, after parsing.

Only ``${NAME}`` is a reference, where ``NAME`` matches ``[A-Za-z_][A-Za-z0-9_]*`` (dynamic-mcp SECURITY.md 1.3.0: "Only ${VAR} syntax
supported (not $VAR)"). The value of a variable is not expanded again, so it cannot change the structure of the configuration. A
reference to an undefined variable stays ("Undefined variables preserved as ${VAR} with warning"); an empty variable is empty.

A path may also begin with ``~``. Only the members that name a program, a folder or a file are paths. In an argument or a value of
``env``, a ``~`` may mean anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: References of shells and of other tools, with a default or with a prefix. Their text may be a secret, so warnings show only the names.
_FOREIGN = re.compile(
    r"\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*):?[-=?+][^}]*|(?P<prefix>[A-Za-z]+):(?P<inner>[A-Za-z_][A-Za-z0-9_]*))\}"
)


class Expander:
    """Expands references from one environment, and remembers the locations of undefined names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._undefined: dict[str, list[str]] = {}
        self._foreign: list[str] = []

    def __call__(self, text: str, location: str) -> str:
        """``text`` with every defined reference replaced. ``location`` is for the warnings."""

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            found = self._environment.get(name)
            if found is None:
                locations = self._undefined.setdefault(name, [])
                if location not in locations:
                    locations.append(location)
                return match.group(0)
            return found

        for found in _FOREIGN.finditer(text):
            if (warning := f"{location}: {_explain(found)}") not in self._foreign:
                self._foreign.append(warning)
        return REFERENCE.sub(value, text)

    def script(self, text: str, location: str) -> str:
        """The same for an argument of a shell, where references of other forms are for the shell."""
        before = len(self._foreign)
        expanded = self(text, location)
        del self._foreign[before:]
        return expanded

    def path(self, text: str, location: str) -> str:
        """The same for a path, where ``~`` or ``~name`` at the beginning becomes the home folder, as in a shell."""
        return os.path.expanduser(self(text, location))

    def warnings(self) -> list[str]:
        """One sentence for each undefined variable, with every location, and for each reference of another syntax."""
        undefined = (
            f"environment variable {name} is not set; ${{{name}}} is left as it is in {', '.join(locations)}"
            for name, locations in self._undefined.items()
        )
        return [*undefined, *self._foreign]


def _explain(foreign: re.Match[str]) -> str:
    """What the proxy does with a reference of another syntax, and what to write."""
    name, prefix, inner = foreign["name"], foreign["prefix"], foreign["inner"]
    if name is not None:
        fix = f"write ${{{name}}}, and set the variable"
        return f"${{{name}...}} is left as it is, because the proxy has no default values; {fix}"
    fix = f"write ${{{inner}}}" if prefix == "env" else "write ${NAME}, and set that variable"
    return f"${{{prefix}:{inner}}} is left as it is, because the proxy replaces only ${{NAME}}; {fix}"


def beside(file: str, path: str) -> str:
    """The full form of a path that is relative to the folder of a file. An empty path stays empty."""
    return str(Path(file).parent.absolute() / path) if path else ""
