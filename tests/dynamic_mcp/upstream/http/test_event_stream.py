"""Event streams: any chunks give the events that the standard's algorithm finds in the whole stream."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamic_mcp.protocol.lines import ENDLESS_FACTOR
from dynamic_mcp.protocol.pieces import size_of
from dynamic_mcp.upstream.flow import EVENTS_AT_ONCE, pieces
from dynamic_mcp.upstream.http.event_stream import EventParser, ServerSentEvent

BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\r|\n")

_NAMES = st.sampled_from([b"data", b"id", b"event", b"retry", b"", b"Data", b"unknown"])
_VALUES = st.sampled_from(
    [b"", b" ", b"x", b" x", b"  x: y", b":", "é😀".encode(), b"\xff", b"\0", b"250", b"-1", BOM]
)
_FIELDS = st.builds(
    lambda name, colon, value: name + (colon and colon + value), _NAMES, st.sampled_from([b"", b":"]), _VALUES
)
_LINES = st.one_of(_FIELDS, st.just(b""), st.binary(max_size=5))
_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
_STREAMS = st.builds(
    lambda bom, lines, rest: bom + b"".join(line + end for line, end in lines) + rest,
    st.sampled_from([b"", BOM, BOM + BOM]),
    st.lists(st.tuples(_LINES, _ENDS), max_size=12),
    st.one_of(st.just(b""), _FIELDS),
)


def chunked(stream: bytes, offsets: list[int]) -> list[bytes]:
    """The stream in chunks that end at these offsets; some may be empty."""
    ends = [0, *sorted(offset % (len(stream) + 1) for offset in offsets), len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


def read_whole(stream: bytes) -> tuple[list[ServerSentEvent], str, float | None]:
    """The events, the last id and the reconnection time of a complete stream."""
    *lines, _ = LINE_END.split(stream[3:] if stream.startswith(BOM) else stream)
    found: list[ServerSentEvent] = []
    last_id, retry = "", None
    while b"" in lines:
        end = lines.index(b"")
        block, lines = lines[:end], lines[end + 1 :]
        fields = [re.fullmatch(rb"([^:]*)(?::[ ]?(.*))?", line, re.DOTALL) for line in block]
        pairs = [(field[1], field[2] or b"") for field in fields if field is not None]
        assert len(pairs) == len(block)
        data = [value for name, value in pairs if name == b"data"]
        ids = [value for name, value in pairs if name == b"id" and b"\0" not in value]
        types = [value for name, value in pairs if name == b"event"]
        if ids:
            last_id = ids[-1].decode(errors="replace")
        if data or ids:
            kind = types[-1].decode(errors="replace") if types else ""
            found.append(ServerSentEvent(kind or "message", b"\n".join(data), last_id))
    for line in LINE_END.split(stream.removeprefix(BOM))[:-1]:
        if time := re.fullmatch(rb"retry: ?([0-9]{1,9})", line):
            retry = int(time[1]) / 1000
    return found, last_id, retry


@given(_STREAMS, st.lists(st.integers(0, 400), max_size=8))
@example(BOM + b"data: x\r\n\r\n", [1, 2])
@example(b"id: 1\r\n\r", [])
def test_chunking_does_not_change_the_events(stream: bytes, offsets: list[int]) -> None:
    parser = EventParser()

    found = [event for chunk in chunked(stream, offsets) for event in parser.feed(chunk)]

    assert (found, parser.last_id, parser.retry) == read_whole(stream)


@given(_STREAMS)
def test_single_bytes_give_the_same_events(stream: bytes) -> None:
    parser = EventParser()

    found = [event for byte in stream for event in parser.feed(bytes([byte]))]

    assert found == read_whole(stream)[0]


def test_event_is_complete_at_the_cr_of_its_blank_line() -> None:
    parser = EventParser()

    assert parser.feed(b"data: x\r\r") == [ServerSentEvent("message", b"x", "")]
    assert parser.feed(b"\ndata: y\r\n") == []
    assert parser.feed(b"\r\n") == [ServerSentEvent("message", b"y", "")]


def test_id_of_an_incomplete_event_does_not_count() -> None:
    parser = EventParser()

    parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: half of")

    assert parser.last_id == "1"


def test_resumed_stream_keeps_the_id_and_the_retry_time() -> None:
    parser = EventParser(last_id="7", retry=0.5)

    assert parser.feed(b"data: x\n\n") == [ServerSentEvent("message", b"x", "7")]
    assert (parser.last_id, parser.retry) == ("7", 0.5)


@pytest.mark.parametrize(
    ("stream", "is_idle"),
    [
        (b"", True),
        (b": comment\n: anoth", True),
        (b"data: x\n\n", True),
        (b"data: x\n", False),
        (b"da", False),
        (b"data: x\n: comment\n", False),
    ],
)
def test_comments_leave_a_stream_idle(stream: bytes, is_idle: bool) -> None:
    parser = EventParser()

    parser.feed(stream)

    assert parser.is_idle is is_idle


class OversizedEvents:
    """The reports of a parser about oversized events."""

    def __init__(self, max_size: int) -> None:
        self.edges: list[tuple[bytes, bool]] = []
        self.parser = EventParser(max_size, lambda edge, last: self.edges.append((edge, last)))


MAX_SIZE = 60


@given(
    st.lists(st.integers(0, 3 * MAX_SIZE), min_size=1, max_size=6), st.lists(st.integers(0, 2000), max_size=8)
)
def test_only_oversized_events_are_dropped_and_reported(sizes: list[int], offsets: list[int]) -> None:
    oversized = OversizedEvents(MAX_SIZE)
    values = [bytes(ord("a") + (at + size) % 26 for at in range(size)) for size in sizes]
    stream = b"".join(b"id: %d\nevent: e\ndata: %b\n\n" % (n, value) for n, value in enumerate(values))

    found = [event for chunk in chunked(stream, offsets) for event in oversized.parser.feed(chunk)]

    delivered = {int(event.last_id): event for event in found}
    for n, value in enumerate(values):
        # An incomplete line counts with the name of its field.
        if len(value) + len(b"data: ") <= MAX_SIZE:
            assert delivered[n] == ServerSentEvent("e", value, str(n))
        elif len(value) > MAX_SIZE:
            assert n not in delivered
    dropped = [value for n, value in enumerate(values) if n not in delivered]
    assert [last for _, last in oversized.edges] == [False, True] * len(dropped)
    for value, (first, _), (end, _) in zip(dropped, oversized.edges[::2], oversized.edges[1::2], strict=True):
        assert value.startswith(first)
        assert value.endswith(end)
    assert oversized.parser.last_id == str(len(values) - 1)


def test_empty_data_lines_count_for_the_size() -> None:
    oversized = OversizedEvents(MAX_SIZE)

    found = oversized.parser.feed(b"data\n" * (MAX_SIZE + 2) + b"\ndata: next\n\n")

    assert [event.data for event in found] == [b"next"]
    assert [last for _, last in oversized.edges] == [False, True]


@pytest.mark.parametrize(
    "line", [b"x" * MAX_SIZE, b"data: " + b"x" * MAX_SIZE + b"\n"], ids=["one line", "many lines"]
)
def test_event_beyond_16_bounds_is_endless_until_it_ends(line: bytes) -> None:
    oversized = OversizedEvents(MAX_SIZE)
    oversized.parser.feed(b"data: ")

    for _ in range(ENDLESS_FACTOR):
        assert not oversized.parser.is_endless
        oversized.parser.feed(line)
    oversized.parser.feed(line * 2)
    assert oversized.parser.is_endless
    (event,) = oversized.parser.feed(b"\n\ndata: next\n\n")
    assert event.data == b"next"
    assert not oversized.parser.is_endless


def test_large_event_takes_linear_time() -> None:
    parser = EventParser()
    chunk = b"x" * 1000

    parser.feed(b"data: ")
    for _ in range(20_000):
        assert parser.feed(chunk) == []
    (event,) = parser.feed(b"\n\n")

    assert size_of(event.data) == 20_000_000


@pytest.mark.slow
@given(_STREAMS, st.lists(st.integers(0, 400), max_size=8))
def test_pieces_do_not_change_the_events(stream: bytes, offsets: list[int]) -> None:
    parser = EventParser()
    long = stream + b"data: y\n" * 1100 + b"\r\n" + b"\n" * 3000 + stream

    found = [
        event
        for chunk in chunked(long, offsets)
        for piece in pieces(chunk, EVENTS_AT_ONCE)
        for event in parser.feed(piece)
    ]

    assert (found, parser.last_id, parser.retry) == read_whole(long)


@pytest.mark.parametrize(
    "chunk", [b"\n" * 200_000, b"\r" * 200_000, b":\r\n" * 70_000, b"data:ab\n" * 30_000]
)
def test_no_piece_has_many_lines(chunk: bytes) -> None:
    found = list(pieces(chunk, EVENTS_AT_ONCE))
    assert b"".join(found) == chunk
    assert max(piece.count(b"\n") + piece.count(b"\r") for piece in found) <= 2048


def test_large_message_is_one_piece() -> None:
    chunk = b"data: " + b"x" * 200_000 + b"\n\n"
    assert list(pieces(chunk, EVENTS_AT_ONCE)) == [chunk]


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"data:ab\n", b"data:\n", b"data\r\n"])
def test_event_of_short_lines_costs_no_more_than_its_size(line: bytes) -> None:
    parser, chunk = EventParser(), line * 1000
    tracemalloc.start()
    try:
        for _ in range(40):
            assert not parser.feed(chunk)
        (event,) = parser.feed(b"\n")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = size_of(event.data)
    assert size == 40_000 * (line.count(b"ab") * 2 + 1) - 1
    assert peak < 3 * size + 20 * len(chunk)


def test_long_ids_and_types_are_not_kept() -> None:
    parser = EventParser()
    (event,) = parser.feed(b"id: 1\n\nid: " + b"2" * 5000 + b"\nevent: " + b"t" * 5000 + b"\ndata: x\n\n")[1:]
    assert (event.last_id, event.data, len(event.type)) == ("1", b"x", 4096)
