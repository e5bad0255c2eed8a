"""Checks that bytes are UTF-8, in little memory."""

from __future__ import annotations

import codecs

_BLOCK = 1 << 16


def check_utf8(line: bytes) -> None:
    """Raises UnicodeDecodeError. The text of a whole line could take four times its size, so a long line is decoded in blocks."""
    if len(line) <= _BLOCK:
        line.decode()
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(line)
    for start in range(0, len(line), _BLOCK):
        decoder.decode(view[start : start + _BLOCK])
    decoder.decode(b"", True)
