"""A sequence of bytes that grows piece by piece, with little more memory than its length.

A list of pieces of two bytes takes thirty times their size, because each piece is an object. One growing buffer takes the least memory,
but costs one more copy of each large piece. So only small pieces share a buffer.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

#: Bytes of a message from which it stays in pieces. The decoder reads a smaller one in a few milliseconds.
LARGE = 1 << 19
#: Bytes from which a piece is kept as it is.
_SMALL = 1 << 12

_BATCH = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{")

#: A part of a message: the offsets of its bytes, or other bytes in place of them.
Part = tuple[int, int] | bytes


class Pieces:
    """Collects pieces. Adding takes time in proportion to the piece, and ``take`` in proportion to the whole."""

    __slots__ = ("_parts", "_tail", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._tail = bytearray()
        #: bytes so far
        self.size = 0

    def __bool__(self) -> bool:
        return self.size > 0

    def starts_with(self, byte: bytes) -> bool:
        """Whether the first byte is this one."""
        return (self._parts[0] if self._parts else self._tail).startswith(byte)

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        self.size += len(piece)
        if len(piece) < _SMALL:
            self._tail += piece
            if len(self._tail) < _SMALL:
                return
            piece = b""
        if self._tail:
            self._parts.append(bytes(self._tail))
            self._tail.clear()
        if piece:
            self._parts.append(piece)

    def take(self) -> bytes:
        """All pieces so far as one; afterwards there are none."""
        parts, self._parts = self._parts, []
        if self._tail:
            parts.append(bytes(self._tail))
            self._tail.clear()
        self.size = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_line(self) -> Line:
        """Like ``take``, but a large message stays in its pieces."""
        if self.size <= LARGE:
            return self.take()
        if self._tail:
            self._parts.append(bytes(self._tail))
        large, self._parts, self._tail, self.size = Large(self._parts), [], bytearray(), 0
        return large


class Large:
    """A message of more than ``LARGE`` bytes, in the pieces in which it came."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        #: the offset at the end of each piece
        self._ends = list(accumulate(map(len, pieces)))
        #: bytes
        self.size = self._ends[-1]

    def slices(self, size: int) -> Iterator[bytes]:
        """All bytes, in slices of at most ``size`` bytes."""
        for piece in self._pieces:
            for start in range(0, len(piece), size):
                yield piece[start : start + size]

    def gather(self, parts: list[Part], limit: int | None = None) -> bytes:
        """The bytes of these parts, or the first ``limit`` of them."""
        found, size = [], 0
        for piece in self.pieces_of(parts):
            found.append(piece)
            size += len(piece)
            if limit is not None and size >= limit:
                return b"".join(found)[:limit]
        return b"".join(found)

    def pieces_of(self, parts: list[Part]) -> Iterator[bytes]:
        """The same in pieces. Whole pieces are not copied; for views, ``join`` would not let other threads run."""
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            at, end = part[0], min(part[1], self.size)
            number = bisect_right(self._ends, at)
            while at < end:
                piece, begin = self._pieces[number], self._ends[number] - len(self._pieces[number])
                stop = min(end, self._ends[number])
                yield piece[at - begin : stop - begin]
                at, number = stop, number + 1


#: A message as it arrived.
Line = bytes | Large


def size_of(line: Line) -> int:
    """The bytes of a message."""
    return line.size if isinstance(line, Large) else len(line)


def edges_of(line: Line, size: int) -> tuple[bytes, bytes]:
    """The first and the last bytes of a message."""
    if isinstance(line, Large):
        return line.gather([(0, size)]), line.gather([(max(0, line.size - size), line.size)])
    return line[:size], line[-size:]


def first_character(line: Line) -> bytes:
    """The first character of the JSON in a message, after a byte order mark and blanks; empty without one."""
    return first_bytes(line).removeprefix(codecs.BOM_UTF8).lstrip()[:1]


def is_batch(line: Line) -> bool:
    """Whether a message begins as an array of objects does (MCP 2025-03-26, basic, "Batching")."""
    return _BATCH.match(first_bytes(line)) is not None


def first_bytes(line: Line) -> bytes:
    """A small message as a whole, or the beginning of a large one."""
    return line.gather([(0, _SMALL)]) if isinstance(line, Large) else line
