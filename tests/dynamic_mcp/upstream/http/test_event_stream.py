"""Event streams: in any chunks, the events that the standard's algorithm finds in the whole stream, and no others."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamic_mcp.protocol.jsonrpc import ENDLESS
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


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in chunks that end at these places, some of them empty."""
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(ends)]


def read_whole(stream: bytes) -> tuple[list[ServerSentEvent], str, float | None]:
    """The events, the last id and the reconnection time of a stream that is at hand as a whole."""
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
def test_any_chunking_of_any_stream_gives_the_events_of_the_whole(stream: bytes, places: list[int]) -> None:
    parser = EventParser()

    found = [event for chunk in cut(stream, places) for event in parser.feed(chunk)]

    assert (found, parser.last_id, parser.retry) == read_whole(stream)


@given(_STREAMS)
def test_one_byte_at_a_time_is_enough(stream: bytes) -> None:
    parser = EventParser()

    found = [event for byte in stream for event in parser.feed(bytes([byte]))]

    assert found == read_whole(stream)[0]


def test_an_event_is_there_as_soon_as_its_blank_line_ends_with_cr() -> None:
    parser = EventParser()

    assert parser.feed(b"data: x\r\r") == [ServerSentEvent("message", b"x", "")]
    assert parser.feed(b"\ndata: y\r\n") == []
    assert parser.feed(b"\r\n") == [ServerSentEvent("message", b"y", "")]


def test_the_id_of_an_event_that_breaks_off_is_no_place_to_go_on_from() -> None:
    parser = EventParser()

    parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: half of")

    assert parser.last_id == "1"


def test_a_stream_that_is_taken_up_again_begins_with_what_the_broken_one_said() -> None:
    parser = EventParser(last_id="7", retry=0.5)

    assert parser.feed(b"data: x\n\n") == [ServerSentEvent("message", b"x", "7")]
    assert (parser.last_id, parser.retry) == ("7", 0.5)


class Told:
    """What a parser says about events that are too large."""

    def __init__(self, max_size: int) -> None:
        self.edges: list[tuple[bytes, bool]] = []
        self.parser = EventParser(max_size, lambda edge, last: self.edges.append((edge, last)))


MOST = 60


@given(st.lists(st.integers(0, 3 * MOST), min_size=1, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_an_event_that_is_too_large_is_dropped_and_told_of_and_no_other(
    sizes: list[int], places: list[int]
) -> None:
    told = Told(MOST)
    values = [bytes(ord("a") + (at + size) % 26 for at in range(size)) for size in sizes]
    stream = b"".join(b"id: %d\nevent: e\ndata: %b\n\n" % (n, value) for n, value in enumerate(values))

    found = [event for chunk in cut(stream, places) for event in told.parser.feed(chunk)]

    delivered = {int(event.last_id): event for event in found}
    for n, value in enumerate(values):
        # A line that is not yet whole counts with its name.
        if len(value) + len(b"data: ") <= MOST:
            assert delivered[n] == ServerSentEvent("e", value, str(n))
        elif len(value) > MOST:
            assert n not in delivered
    dropped = [value for n, value in enumerate(values) if n not in delivered]
    assert [last for _, last in told.edges] == [False, True] * len(dropped)
    for value, (first, _), (end, _) in zip(dropped, told.edges[::2], told.edges[1::2], strict=True):
        assert value.startswith(first)
        assert value.endswith(end)
    assert told.parser.last_id == str(len(values) - 1)


def test_many_empty_lines_are_a_large_event_too() -> None:
    told = Told(MOST)

    found = told.parser.feed(b"data\n" * (MOST + 2) + b"\ndata: next\n\n")

    assert [event.data for event in found] == [b"next"]
    assert [last for _, last in told.edges] == [False, True]


@pytest.mark.parametrize(
    "line", [b"x" * MOST, b"data: " + b"x" * MOST + b"\n"], ids=["one line", "many lines"]
)
def test_an_event_many_times_larger_than_the_bound_has_no_end_until_it_ends(line: bytes) -> None:
    told = Told(MOST)
    told.parser.feed(b"data: ")

    for _ in range(ENDLESS):
        assert not told.parser.is_endless
        told.parser.feed(line)
    told.parser.feed(line * 2)
    assert told.parser.is_endless
    (event,) = told.parser.feed(b"\n\ndata: next\n\n")
    assert event.data == b"next"
    assert not told.parser.is_endless


def test_a_large_event_costs_time_in_proportion_to_its_length() -> None:
    parser = EventParser()
    chunk = b"x" * 1000

    parser.feed(b"data: ")
    for _ in range(20_000):
        assert parser.feed(chunk) == []
    (event,) = parser.feed(b"\n\n")

    assert len(event.data) == 20_000_000
