"""The JSON values of a line with several.

A program with threads may write a message and its line end in two steps. Then a line has two messages, or a message and a text. A value
that follows a text may be a quotation, for example of what another program answered. So the proxy ignores everything after
the first text.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator

from dynamic_mcp.protocol.pieces import LARGE, Large, Line, size_of
from dynamic_mcp.tasks import Slices

#: Bytes that are searched before others get their turn.
SLICE = 1 << 13

#: Brackets inside each other. The decoder refuses more.
MAX_DEPTH = 1000

_IN_STRING = rb'(?:[^"\\]+|\\.)*+("?)'
_STRING_END = re.compile(_IN_STRING, re.DOTALL)
#: a string, which may go on in the next piece, or a bracket
_TOKEN = re.compile(rb'"%b|[{}\[\]]' % _IN_STRING, re.DOTALL)
_QUOTE, _OPENING = ord('"'), b"{["
#: between two values
_BETWEEN = re.compile(rb"(?:\s|\xef\xbb\xbf)*")


async def values_of(line: Line) -> AsyncIterator[Line]:
    """The objects and arrays with which a line begins, one by one, and then what follows them, if it is not blank.

    A value of more than ``MAX_DEPTH`` brackets inside each other counts as a text. A value is only as long as its brackets say: if the
    decoder refuses one, what follows it may be the middle of a string. The time is linear in the length of the line.
    """
    if not _has_an_end(line):
        yield line
        return
    slices, ends, start, at = Slices(), _Ends(), 0, 0
    for piece in _slices_of(line):
        for end in ends.feed(piece):
            yield _part(line, start, at + end)
            start = at + end
        at += len(piece)
        if ends.is_over:
            break
        await slices.rest()
    rest = _part(line, start, size_of(line))
    if isinstance(rest, Large) or rest.strip():
        yield rest


class _Ends:
    """Finds where each value ends, in a text that comes in pieces."""

    def __init__(self) -> None:
        #: whether something else than a value began
        self.is_over = False
        self._depth = 0
        self._in_string = False
        #: whether the piece ended between a backslash and what it escapes
        self._in_escape = False

    def feed(self, piece: bytes) -> Iterator[int]:
        """The offsets in this piece at which a value ends."""
        at = self._go_on_in_string(piece) if self._in_string else 0
        while at < len(piece) and not self.is_over:
            if not self._depth:
                at = self._begin(piece, at)
            if self._depth:
                at = self._follow(piece, at)
                if not self._depth:
                    yield at

    def _go_on_in_string(self, piece: bytes) -> int:
        found = _STRING_END.match(piece, 1 if self._in_escape else 0)
        assert found is not None
        self._note_string(found, piece)
        return len(piece) if self._in_string else found.end()

    def _note_string(self, found: re.Match[bytes], piece: bytes) -> None:
        self._in_string = not found[1]
        self._in_escape = self._in_string and found.end() < len(piece)

    def _begin(self, piece: bytes, at: int) -> int:
        """Go behind the bracket with which the next value begins."""
        found = _BETWEEN.match(piece, at)
        assert found is not None
        at = found.end()
        if at < len(piece):
            self.is_over = piece[at] not in _OPENING
            self._depth = 0 if self.is_over else 1
        return at + 1

    def _follow(self, piece: bytes, at: int) -> int:
        """Go to the end of the value, or of the piece."""
        for found in _TOKEN.finditer(piece, at):
            first = piece[found.start()]
            if first == _QUOTE:
                if not found[1]:
                    self._note_string(found, piece)
                    break
            elif first in _OPENING:
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    self.is_over = True
                    break
            else:
                self._depth -= 1
                if not self._depth:
                    return found.end()
        return len(piece)


def _has_an_end(line: Line) -> bool:
    """Whether a value can end in the line. To find one byte takes a thirtieth of the time that following the brackets takes."""
    pieces = line.slices(LARGE) if isinstance(line, Large) else (line,)
    return any(b"}" in piece or b"]" in piece for piece in pieces)


def _slices_of(line: Line) -> Iterable[bytes]:
    if isinstance(line, Large):
        return line.slices(SLICE)
    return (line[start : start + SLICE] for start in range(0, len(line), SLICE))


def _part(line: Line, start: int, end: int) -> Line:
    if not isinstance(line, Large):
        return line[start:end]
    if end - start <= LARGE:
        return line.gather([(start, end)])
    return Large([*line.pieces_of([(start, end)])])
