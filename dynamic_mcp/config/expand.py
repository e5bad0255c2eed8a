"""``${VAR}`` expansion: one syntax, one pass, after parsing.

Only ``${NAME}`` with ``NAME`` matching ``[A-Za-z_][A-Za-z0-9_]*`` is a reference (SECURITY.md: "Only ${VAR} syntax supported
(not $VAR)"). A value is never scanned again, so what a variable holds cannot change the structure of the configuration. An
undefined variable stays as it was written ("Undefined variables preserved as ${VAR} with warning"); an empty one is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Expander:
    """Expands references from one environment and remembers where undefined names were met."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._undefined: dict[str, list[str]] = {}

    def __call__(self, text: str, place: str) -> str:
        """``text`` with every defined reference replaced; ``place`` names it for the operator."""

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            found = self._environment.get(name)
            if found is None:
                places = self._undefined.setdefault(name, [])
                if place not in places:
                    places.append(place)
                return match.group(0)
            return found

        return REFERENCE.sub(value, text)

    def warnings(self) -> list[str]:
        """One sentence for each undefined variable, naming it and every place that uses it."""
        return [
            f"environment variable {name} is not set; ${{{name}}} is left as it is in {', '.join(places)}"
            for name, places in self._undefined.items()
        ]
