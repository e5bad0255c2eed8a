"""The sent events that a session keeps for a client that resumes a stream."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import msgspec


class StoredEvent(msgspec.Struct, frozen=True):
    """A message on a stream; the first one has number 1."""

    number: int
    line: bytes


class SentStream(Protocol):
    """A stream that has sent events."""

    name: str

    def forget_oldest(self) -> None:
        """Keep the oldest event no longer."""
        ...


class History:
    """The sent events of one session, up to a size. Beyond it, messages go before answers, and the oldest go first."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        #: the streams and the sizes of the events, by the name of the stream and the number of the event; the oldest first
        self._messages: OrderedDict[tuple[str, int], tuple[SentStream, int]] = OrderedDict()
        self._answers: OrderedDict[tuple[str, int], tuple[SentStream, int]] = OrderedDict()

    def add(self, stream: SentStream, event: StoredEvent, *, is_answer: bool) -> bool:
        """Count an event that was sent; whether the stream may keep it. An answer is the last event of its stream."""
        size = len(event.line)
        if size > self._max_size:
            return False
        kept = self._answers if is_answer else self._messages
        kept[stream.name, event.number] = stream, size
        self._size += size
        while self._size > self._max_size:
            _, (oldest, freed) = (self._messages or self._answers).popitem(last=False)
            self._size -= freed
            oldest.forget_oldest()
        return True

    def remove(self, stream: SentStream, event: StoredEvent) -> None:
        """Count an event no longer, if it was counted."""
        for kept in (self._messages, self._answers):
            if kept.pop((stream.name, event.number), None) is not None:
                self._size -= len(event.line)
