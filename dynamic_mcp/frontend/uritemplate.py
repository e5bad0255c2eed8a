"""Matches URIs with RFC 6570 templates, to find the group of a URI. The proxy does not need the values of the variables."""

from __future__ import annotations

import re
from functools import lru_cache

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
#: Patterns for the expansion of an expression by operator (RFC 6570, appendix A). Undefined variables expand to nothing.
_EXPANSIONS = {
    "": r"[^/?#]*",
    "+": r".*",
    "#": r"(?:#.*)?",
    ".": r"(?:\.[^/?#]*)?",
    "/": r"(?:/[^?#]*)?",
    ";": r"(?:;[^/?#]*)?",
    "?": r"(?:\?[^#]*)?",
    "&": r"(?:&[^#]*)?",
}


def matches(template: str, uri: str) -> bool:
    """Whether the URI can be an expansion of the template."""
    return _pattern(template).fullmatch(uri) is not None


@lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str]:
    parts, at = [], 0
    for found in _EXPRESSION.finditer(template):
        parts += [re.escape(template[at : found.start()]), _EXPANSIONS[found[1]]]
        at = found.end()
    return re.compile("".join([*parts, re.escape(template[at:])]), re.DOTALL)
