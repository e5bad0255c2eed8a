"""A parser for server-sent events (WHATWG HTML, section 9.2.6, "Interpreting an event stream"). It does no input or output.

Time and memory are linear in the length of the stream, however short its lines are. The parser drops an event whose data exceeds the
size of a message, and reports it like an oversized line of a stdio server.
"""

from __future__ import annotations

import codecs

import msgspec

from dynamic_mcp.protocol.lines import EDGE, ENDLESS_FACTOR, MAX_MESSAGE, OnOversized, split_lines
from dynamic_mcp.protocol.pieces import Line, Pieces, edges_of

#: Bytes of an event's id and type. The proxy ignores a longer id, because no HTTP header could send it back.
_MAX_FIELD = 1 << 12
#: Bytes of an unfinished line from which it is treated as data, if it is.
_LONG_LINE = 1 << 16


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event. An event with empty ``data`` only carries an id."""

    type: str
    data: Line
    #: the last id in the stream, up to this event
    last_id: str


class EventParser:
    """Parses chunks. ``retry`` is the reconnection time of the stream in seconds.

    A client can resume the stream after ``last_id``, the id of the last complete event.
    """

    def __init__(
        self,
        max_size: int = MAX_MESSAGE,
        on_oversized: OnOversized = lambda edge, last: None,
        *,
        last_id: str = "",
        retry: float | None = None,
    ) -> None:
        self.retry = retry
        self.last_id = self._id = last_id
        self._max_size = max_size
        self._on_oversized = on_oversized
        self._at_start = True
        self._after_cr = False
        #: an unfinished line, and the data of an unfinished event
        self._line = Pieces()
        self._data = Pieces()
        self._has_data = False
        #: whether the unfinished line is one of data, and ``_data`` has its beginning
        self._in_data = False
        self._type = b""
        self._has_fields = False
        #: the last bytes of the event that the parser drops; None while it keeps the event
        self._edge: bytes | None = None
        self._dropped = 0

    @property
    def is_endless(self) -> bool:
        """Whether the event being dropped counts as endless."""
        return self._dropped > ENDLESS_FACTOR * self._max_size

    @property
    def is_idle(self) -> bool:
        """Whether no event has begun. A comment is no event."""
        has_begun = bool(self._line) and not self._line.starts_with(b":")
        return not (has_begun or self._has_fields) and self._edge is None

    def take_unfinished(self) -> Line:
        """The data of the event that the end of the stream cut off, which may lack only its last line ends; empty without one."""
        if self._edge is not None:
            return b""
        if not self._in_data and self._line:
            line = self._line.take()
            if line.startswith(b"data:"):
                self._begin_data(line)
        return self._data.take_line()

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that ``chunk`` completes."""
        if self._at_start and chunk:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            # The chunks split a CR LF; this is its second half.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines, rest = split_lines(chunk)
        events = []
        for line in lines:
            if self._in_data:
                self._in_data = False
                self._data.add(line)
                self._check_size()
                continue
            if self._line:
                self._line.add(line)
                line = self._line.take()
            if (event := self._take(line)) is not None:
                events.append(event)
        if rest:
            self._add_rest(rest)
            self._check_size()
        return events

    def _add_rest(self, rest: bytes) -> None:
        """Keep the beginning of a line, or more of it. Data goes to the data of the event, so that nothing copies a long line."""
        if self._in_data:
            self._data.add(rest)
            return
        before = self._line.size
        self._line.add(rest)
        if before < _LONG_LINE <= self._line.size:
            text = self._line.take()
            if self._edge is None and text.startswith(b"data:"):
                self._in_data = True
                self._begin_data(text)
            else:
                self._line.add(text)

    def _begin_data(self, line: bytes) -> None:
        self._has_fields = True
        # Line ends count, because many empty lines are a large event too.
        if self._has_data:
            self._data.add(b"\n")
        self._has_data = True
        self._data.add(line.partition(b":")[2].removeprefix(b" "))

    def _without_bom(self, chunk: bytes) -> bytes:
        self._line.add(chunk)
        chunk = self._line.take()
        if len(chunk) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(chunk):
            self._line.add(chunk)
            return b""
        self._at_start = False
        return chunk.removeprefix(codecs.BOM_UTF8)

    def _check_size(self) -> None:
        """Drop an event that is too large. What stays is its edge, and a mark that an unfinished line has begun."""
        if self._edge is None and self._line.size + self._data.size <= self._max_size:
            return
        line, size = self._line.take(), self._data.size
        first, data = edges_of(self._data.take_line(), EDGE)
        if line:
            # The mark says that the rest of the line belongs to its data.
            self._line.add(b"data:")
            line = line.removeprefix(b"data:")
        if self._edge is None:
            unfinished = line.lstrip(b" ")
            between = b"\n" if self._has_data and line else b""
            self._edge = b"".join((data, between, unfinished[-EDGE:]))[-EDGE:]
            self._on_oversized(b"".join((first, between, unfinished[:EDGE]))[:EDGE], False)
        else:
            self._dropped += size + len(line)
            self._edge = b"".join((self._edge, data, line[-EDGE:]))[-EDGE:]

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._begin_data(line)
                self._check_size()
            case b"event":
                self._type = value[:_MAX_FIELD]
            case b"id" if len(value) <= _MAX_FIELD and b"\0" not in value:
                self._has_fields = True
                self._id = value.decode(errors="replace")
            case b"retry" if value.isdigit() and len(value) < 10:
                self.retry = int(value) / 1000
            case _:
                pass  # a comment or an unknown field
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        edge, data, has_fields = self._edge, self._data.take_line(), self._has_fields
        kind = self._type.decode(errors="replace") or "message"
        self._edge, self._has_fields, self._has_data, self._type = None, False, False, b""
        self._dropped = 0
        # Not earlier: the server has to send an incomplete event again as a whole.
        self.last_id = self._id
        if edge is not None:
            self._on_oversized(edge, True)
            return None
        return ServerSentEvent(kind, data, self.last_id) if has_fields else None
