"""Cuts a stream of bytes into lines, and finds the id of a line that is too large to keep."""

from __future__ import annotations

import re
from collections.abc import Callable

from dynamic_mcp.protocol.pieces import Large, Line, Pieces, edges_of

#: The largest message in bytes. The proxy drops a larger one and answers it with an error.
MAX_MESSAGE = 128 << 20
#: A message this many times larger than the bound counts as endless.
ENDLESS_FACTOR = 16
#: Bytes that stay of the beginning and of the end of an oversized message, to find its id.
EDGE = 4096
#: From this length on, a search of its own finds a line faster.
_LONG_LINE = 1 << 10

#: Called twice for an oversized message: with its beginning when it passes the bound, and with its end (``True``) when it ends.
OnOversized = Callable[[bytes, bool], None]


def split_lines(chunk: bytes) -> tuple[list[bytes], bytes]:
    """The lines that end in ``chunk``, and what follows them.

    ``rpartition`` and ``find`` search with instructions of the processor. ``split`` tests each byte, which takes thirty times as long for
    a long line, and less time for short ones.
    """
    before, end, rest = chunk.rpartition(b"\n")
    if not end:
        return [], rest
    lines, start = [], 0
    while (at := before.find(b"\n", start)) >= start + _LONG_LINE:
        lines.append(before[start:at])
        start = at + 1
    before = before[start:]
    return lines + ([before] if at < 0 else before.split(b"\n")), rest


class LineSplitter:
    """Splits a byte stream into lines. The time is linear in the length of the stream, for chunks of any size.

    Each chunk is searched once. One growing buffer, searched again for each chunk, would take quadratic time: half a minute for
    64 MiB. The splitter drops a line longer than ``max_size`` bytes.
    """

    __slots__ = ("_dropped", "_edge", "_max_size", "_on_oversized", "_partial")

    def __init__(
        self, max_size: int = MAX_MESSAGE, on_oversized: OnOversized = lambda edge, last: None
    ) -> None:
        self._max_size = max_size
        self._on_oversized = on_oversized
        self._partial = Pieces()
        self._dropped = 0
        #: the last bytes of the line that the splitter drops; None while it keeps the line
        self._edge: bytes | None = None

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that ``chunk`` completes, without their line ends and without blank lines. Large ones stay in pieces."""
        split, rest = split_lines(chunk)
        lines: list[Line] = [*split]
        if lines and (self._partial or self._edge is not None):
            self._keep(split[0])
            lines[0] = self._take()
        if rest:
            self._keep(rest)
        return [line for line in lines if isinstance(line, Large) or (line and not line.isspace())]

    @property
    def is_endless(self) -> bool:
        """Whether the line being dropped counts as endless; the stream then contains nothing more to read."""
        return self._dropped > ENDLESS_FACTOR * self._max_size

    def _keep(self, part: bytes) -> None:
        if self._edge is not None:
            self._edge = (self._edge + part[-EDGE:])[-EDGE:]
            self._dropped += len(part)
            return
        self._partial.add(part)
        if self._partial.size > self._max_size:
            first, self._edge = edges_of(self._partial.take_line(), EDGE)
            self._on_oversized(first, False)

    def _take(self) -> Line:
        """The unfinished line so far; empty for a dropped one."""
        line = self._partial.take_line()
        self._dropped = 0
        edge, self._edge = self._edge, None
        if edge is not None:
            self._on_oversized(edge, True)
        return line


_ID = rb"(-?\d+|\"[^\"\\]*\")"
_ID_AT_START = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*' + _ID + rb"\s*,")
_ID_AT_END = re.compile(rb'(?<!\\)"id"\s*:\s*' + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_ANSWER = re.compile(
    rb'\s*\{\s*(?:(?:"jsonrpc"\s*:\s*"2\.0"|"id"\s*:\s*' + _ID + rb')\s*,\s*)*"(?:result|error)"\s*:'
)


def begins_answer(edge: bytes) -> bool:
    """Whether the beginning of an oversized message is that of an answer."""
    return _ANSWER.match(edge) is not None


def find_id(edge: bytes, last: bool) -> bytes | None:
    """The id of an oversized message, if its beginning or its end shows the id beyond doubt.

    Only the first and the last members of the outermost object count, so text inside a string or a nested object never does.
    """
    found = _ID_AT_END.search(edge) if last else _ID_AT_START.match(edge)
    return found and found[1]
