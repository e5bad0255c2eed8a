"""Matches URIs with RFC 6570 templates, to find the group of a URI. The proxy does not need the values of the variables.

A server writes the templates, so no template may cost more than its length. A regular expression backtracks: twelve expressions in a
row take minutes. This matcher goes through the template once, and keeps the set of all positions in the URI that the template so far
can reach. The set is one integer, with a bit for each position, so a step costs a few operations on that integer.

Servers deviate from RFC 6570: an exploded variable (``{path*}``) often stands for several segments of a path, which always matches. A
variable without an operator may do so too (``{path}``), which matches loosely.
"""

from __future__ import annotations

import re
from functools import lru_cache

from dynamic_mcp.groups.uris import normal_text

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


class Matcher:
    """Compares one URI with many templates."""

    def __init__(self, uri: str) -> None:
        self._uri = uri = normal_text(uri[: MAX_URI + 1])
        #: the end of the URI, and a bit for each character of it
        self._end = 1 << len(uri)
        self._all = self._end - 1
        self._positions: dict[str, int] = {}

    def matches(self, template: str, *, loosely: bool = False) -> bool:
        """Whether the URI can be an expansion of the template; ``loosely``, whether a value may have any characters."""
        if len(self._uri) > MAX_URI or (parts := _parts(template)) is None:
            return False
        first, last = parts[0][0], parts[-1][0]
        if not self._uri.startswith(first) or not self._uri.endswith(last):
            return False
        reached = 1
        for literal, expansion in parts:
            reached = self._after_literal(reached, literal)
            if expansion is not None:
                first, ends = expansion
                reached = self._after_expression(reached, first, "" if loosely else ends)
            if not reached:
                return False
        return bool(reached & self._end)

    def _after_literal(self, reached: int, literal: str) -> int:
        for character in literal:
            reached = (reached & self._at(character)) << 1
            if not reached:
                break
        return reached

    def _after_expression(self, reached: int, first: str, ends: str) -> int:
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
def _parts(template: str) -> tuple[tuple[str, tuple[str, str] | None], ...] | None:
    """Each literal of the template, with the expansion of the expression after it; None for a template beyond the bounds."""
    if len(template) > MAX_TEMPLATE:
        return None
    parts: list[tuple[str, tuple[str, str] | None]] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        expansion = _EXPANSIONS[found[1]]
        if not found[1] and "*" in found[2]:
            expansion = _EXPANSIONS["+"]
        parts.append((normal_text(template[at : found.start()]), expansion))
        at = found.end()
    return (*parts, (normal_text(template[at:]), None)) if len(parts) <= MAX_EXPRESSIONS else None
