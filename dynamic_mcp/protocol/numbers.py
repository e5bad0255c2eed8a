"""Repairs numbers that are no JSON: NaN and Infinity, which Python and JavaScript libraries write for an undefined result.

They become null, as ``JSON.stringify`` writes them. Texts stay as they are. The time is linear, and the number of repairs is bounded.
"""

from __future__ import annotations

import re

#: A line with more of these numbers is not repaired.
MAX_NUMBERS = 250_000

#: What comes before the next bare word: strings as a whole, and other bytes. It never goes back, so its time is linear. The text may
#: end inside a string.
_BEFORE = re.compile(rb'(?:[^"NI]++|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z))*+', re.DOTALL)
_NUMBER = re.compile(rb"NaN|Infinity")


def with_valid_numbers(text: bytes) -> bytes:
    """``text`` with null for each NaN and Infinity; the same object if it has none, or too many, or other bare words."""
    if b"NaN" not in text and b"Infinity" not in text:
        return text
    parts: list[bytes] = []
    start = 0
    while True:
        end = _match_end(text, start)
        if end == len(text):
            break
        number = _NUMBER.match(text, end)
        if number is None or len(parts) > 2 * MAX_NUMBERS:
            return text
        parts += (text[start:end].removesuffix(b"-"), b"null")
        start = number.end()
    return b"".join((*parts, text[start:])) if parts else text


def _match_end(text: bytes, start: int) -> int:
    found = _BEFORE.match(text, start)
    assert found is not None
    return found.end()
