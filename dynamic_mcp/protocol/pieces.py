"""A sequence of bytes that grows piece by piece, with little more memory than its length.

A list of pieces of two bytes takes thirty times their size, because each piece is an object. One growing buffer takes the least memory,
but costs one more copy of each large piece. So only small pieces share a buffer.
"""

from __future__ import annotations

#: Bytes from which a piece is kept as it is.
_SMALL = 1 << 12


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
