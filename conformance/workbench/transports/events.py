"""Reads an event stream (`text/event-stream`), with a bound on its size.

Source: HTML Living Standard, 9.2 Server-sent events, 9.2.6 Interpreting an event stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: milliseconds that a `retry` may demand at most
_MAX_RETRY = 60_000
#: digits of a `retry` that the decoder reads
_MAX_DIGITS = 9


class StreamTooLarge(Exception):
    """The program sent more than the client reads."""


@dataclass(frozen=True)
class StreamedEvent:
    """One event with its data."""

    name: str
    data: str


class EventDecoder:
    """Turns the bytes of a stream, cut anywhere, into events."""

    def __init__(self, limit: int) -> None:
        """No event may have more than `limit` bytes."""
        #: the id of the last event that had one
        self.last_id: str | None = None
        #: milliseconds before the client may connect again; None if the stream did not say
        self.retry: int | None = None
        self._limit = limit
        self._rest = bytearray()
        self._after_cr = False
        self._at_start = True
        self._name = ""
        self._data: list[str] = []

    def restart(self) -> None:
        """Drop what the last connection left unfinished, and read a new one. The id and `retry` stay."""
        self._rest = bytearray()
        self._after_cr, self._at_start = False, True
        self._name, self._data = "", []

    def feed(self, chunk: bytes) -> Iterator[StreamedEvent]:
        """The events that this chunk completes. Raises `StreamTooLarge`."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        self._rest += chunk
        if len(self._rest) + sum(map(len, self._data)) > self._limit:
            raise StreamTooLarge(f"an event of more than {self._limit} bytes")
        if b"\n" not in chunk and b"\r" not in chunk:
            return
        self._after_cr = chunk.endswith(b"\r")
        text = bytes(self._rest).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            yield from self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> Iterator[StreamedEvent]:
        if self._at_start:
            line = line.removeprefix("\ufeff")
            self._at_start = False
        if not line:
            if self._data:
                yield StreamedEvent(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self.last_id = value
        elif field == "retry" and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
            self.retry = min(int(value), _MAX_RETRY)
