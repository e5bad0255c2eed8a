"""The decoder reads an event stream as the standard says, however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.workbench.transports.events import EventDecoder, StreamedEvent, StreamTooLarge

STREAM = (
    "\ufeff: a comment\r\nid: 7\r\nretry: 250\r\n\r\n"
    "event: endpoint\ndata: /messages\n\n"
    'data: {"a":\rdata:  1}\r\r'
    "id: bad\0id\nretry: soon\ndata\n\n"
    "data: unfinished"
).encode()
EVENTS = [
    StreamedEvent("endpoint", "/messages"),
    StreamedEvent("message", '{"a":\n 1}'),
    StreamedEvent("message", ""),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_a_cut_anywhere_changes_nothing(cuts: list[int]) -> None:
    decoder = EventDecoder(1000)
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS
    assert (decoder.last_id, decoder.retry) == ("7", 250)


@pytest.mark.parametrize("piece", [b"data: x\n", b"xxxxxxxx"])
def test_an_event_without_an_end_is_refused(piece: bytes) -> None:
    decoder = EventDecoder(100)
    with pytest.raises(StreamTooLarge, match="more than 100 bytes"):
        for _ in range(200):
            list(decoder.feed(piece))


def test_a_new_connection_forgets_an_unfinished_event_and_keeps_the_id() -> None:
    decoder = EventDecoder(100)
    list(decoder.feed(b"id: 1\ndata: half"))
    decoder.restart()
    assert list(decoder.feed(b"data: whole\n\n")) == [StreamedEvent("message", "whole")]
    assert decoder.last_id == "1"


def test_an_absurd_retry_is_bounded() -> None:
    decoder = EventDecoder(100)
    list(decoder.feed(b"retry: 999999999\n"))
    assert decoder.retry == 60_000
