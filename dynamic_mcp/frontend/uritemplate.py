"""Matches URIs with RFC 6570 templates, to find the group of a URI. The proxy does not need the values of the variables.

A server writes the templates, so no template may cost more than its length. A regular expression backtracks: twelve expressions in a
row take minutes. This matcher goes through the template once, and keeps the set of all positions in the URI that the template so far
can reach. The set is one integer, with a bit for each position, so a step costs a few operations on that integer.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: A longer template, one with more expressions, or a longer URI never matches. Such a resource needs the parameter ``group``.
MAX_TEMPLATE = 2048
MAX_EXPRESSIONS = 64
MAX_URI = 16384

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
#: The expansion of an expression by operator (RFC 6570, appendix A): its first character, and the characters that end it. Undefined
#: variables expand to nothing.
_EXPANSIONS = {
    "": ("", "/?#"),
    "+": ("", ""),
    "#": ("#", ""),
    ".": (".", "/?#"),
    "/": ("/", "?#"),
    ";": (";", "/?#"),
    "?": ("?", "#"),
    "&": ("&", "#"),
}


def matches(template: str, uri: str) -> bool:
    """Whether the URI can be an expansion of the template."""
    return Matcher(uri).matches(template)


class Matcher:
    """Compares one URI with many templates."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        #: the end of the URI, and a bit for each character of it
        self._end = 1 << len(uri)
        self._all = self._end - 1
        self._positions: dict[str, int] = {}

    def matches(self, template: str) -> bool:
        """Whether the URI can be an expansion of the template."""
        if len(self._uri) > MAX_URI or (parts := _parts(template)) is None:
            return False
        first, last = parts[0][0], parts[-1][0]
        if not self._uri.startswith(first) or not self._uri.endswith(last):
            return False
        reached = 1
        for literal, operator in parts:
            reached = self._after_literal(reached, literal)
            if operator is not None:
                reached = self._after_expression(reached, operator)
            if not reached:
                return False
        return bool(reached & self._end)

    def _after_literal(self, reached: int, literal: str) -> int:
        for character in literal:
            reached = (reached & self._at(character)) << 1
            if not reached:
                break
        return reached

    def _after_expression(self, reached: int, operator: str) -> int:
        first, ends = _EXPANSIONS[operator]
        inside = self._all
        for character in ends:
            inside &= ~self._at(character)
        begun = (reached & self._at(first)) << 1 if first else reached
        # The addition carries each begun position through the run of characters after it, to the end of that run.
        return reached | begun | (inside ^ (inside + (inside & begun)))

    def _at(self, character: str) -> int:
        """A bit for each position of the character in the URI."""
        if (known := self._positions.get(character)) is not None:
            return known
        known, at = 0, self._uri.find(character)
        while at >= 0:
            known |= 1 << at
            at = self._uri.find(character, at + 1)
        self._positions[character] = known
        return known


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[tuple[str, str | None], ...] | None:
    """Each literal of the template, with the operator of the expression after it; None for a template beyond the bounds."""
    if len(template) > MAX_TEMPLATE:
        return None
    parts: list[tuple[str, str | None]] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        parts.append((template[at : found.start()], found[1]))
        at = found.end()
    return (*parts, (template[at:], None)) if len(parts) <= MAX_EXPRESSIONS else None
