"""Does a URI come from an RFC 6570 template? Enough to find whose it is; what the variables are is the upstream's business."""

from __future__ import annotations

import re
from functools import lru_cache

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
#: What the expansion of an expression begins with, and may consist of (RFC 6570, appendix A). Undefined variables leave nothing.
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
