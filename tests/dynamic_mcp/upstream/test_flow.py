"""How fast a connection is read: in order and complete for any input, in slices, and not while a hold lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.pieces import LARGE, Large, Line
from dynamic_mcp.upstream import flow
from dynamic_mcp.upstream.flow import EventFlow, LineFlow, Owed, pieces
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.helpers import eventually

FLOOD = b"1\n" * 200_000


class Transport(asyncio.ReadTransport):
    """Records whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_paused(self) -> bool:
        """Whether it does not read."""
        return not self.reads

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Lines:
    """A flow of lines from a transport, with what it passed on."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.errors: list[Exception] = []
        self.blank = 0
        self.transport = Transport()
        self.flow = LineFlow(
            LineSplitter(), self._take, self._take_slowly, self._count_blank, self.errors.append
        )
        self.flow.connect(self.transport)

    def _take(self, line: bytes) -> bool:
        """Take a line, unless it begins a batch."""
        if line.startswith(b"["):
            return True
        self.lines.append(line)
        return False

    async def _take_slowly(self, line: Line) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.lines.append(line.gather([(0, line.size)]) if isinstance(line, Large) else line)

    def _count_blank(self, size: int, lines: int) -> None:
        assert lines
        self.blank += lines


async def no_large(line: Line) -> None:
    """No line is large."""
    raise AssertionError


@pytest.fixture
def endless_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of a turn is never used up."""
    monkeypatch.setattr(flow, "SHARE", 1000.0)


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of a turn is used up with its first timed message."""
    monkeypatch.setattr(flow, "SHARE", 0.0)


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9))
def test_pieces_are_the_chunk_cut_small(parts: list[bytes], size: int) -> None:
    chunk = b"\n".join(parts)
    found = list(pieces(chunk, size))
    assert b"".join(found) == chunk
    assert len(found) == 1 or all(len(piece) <= size for piece in found)


@given(st.lists(st.text('ab{}" ', max_size=30), max_size=400), st.integers(1, 5000))
@settings(max_examples=30, deadline=None)
async def test_lines_arrive_complete_and_in_order(texts: list[str], size: int) -> None:
    data = "".join(f"{text}\n" for text in texts).encode()
    one = Lines()
    for start in range(0, len(data), size):
        one.flow.add(data[start : start + size])
    expected = [text.encode() for text in texts if text.strip()]
    await eventually(lambda: one.transport.reads, "it reads again")
    assert one.lines == expected


async def test_others_have_a_turn_during_a_flood() -> None:
    one = Lines()
    one.flow.add(FLOOD)
    assert len(one.lines) < len(FLOOD) // 2
    assert one.transport.is_paused()
    turns = 0
    while one.transport.is_paused():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert len(one.lines) == len(FLOOD) // 2


@pytest.mark.usefixtures("endless_turns")
async def test_few_messages_pass_at_once() -> None:
    one = Lines()
    one.flow.add(b"1\n2\n3\n")
    assert one.lines == [b"1", b"2", b"3"]
    assert one.transport.reads


@pytest.mark.usefixtures("endless_turns")
async def test_nothing_passes_while_a_hold_lasts() -> None:
    one = Lines()
    one.flow.holds.set("client", True)
    assert not one.transport.reads
    one.flow.add(b"1\n")
    one.flow.holds.set("owed", True)
    one.flow.holds.set("client", False)
    await asyncio.sleep(0)
    assert not one.lines
    one.flow.holds.set("owed", False)
    await eventually(lambda: one.transport.reads, "it reads again")
    assert one.lines == [b"1"]


@pytest.mark.usefixtures("short_turns")
async def test_hold_that_a_message_begins_stops_the_messages_after_it() -> None:
    lines: list[bytes] = []

    def receive(line: bytes) -> None:
        lines.append(line)
        one.holds.set("client", True)

    one = LineFlow(LineSplitter(), receive, no_large, lambda size, count: None, print)
    one.add(b"1\n2\n")
    await asyncio.sleep(0)
    assert lines == [b"1"]


async def test_closed_flow_passes_nothing_on() -> None:
    one = Lines()
    one.flow.add(FLOOD)
    seen = len(one.lines)
    one.flow.close()
    await asyncio.sleep(0.01)
    assert len(one.lines) == seen
    assert one.transport.closed


@pytest.mark.usefixtures("endless_turns")
async def test_blank_lines_count() -> None:
    one = Lines()
    one.flow.add(b"\n" * 100)
    one.flow.add(b"a\n\n")
    assert one.blank == 100


async def chunks(*those: bytes) -> AsyncIterator[bytes]:
    """A body that is here already."""
    for chunk in those:
        yield chunk


async def test_body_arrives_complete_and_lets_others_run() -> None:
    body = b"data: 1\n\n" * 100_000
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    found = []
    async for piece in EventFlow(lambda size, lines: None).pieces(chunks(body)):
        found.append(piece)
        piece.split(b"\n")
    counting.cancel()
    assert b"".join(found) == body
    assert others > 1


async def test_body_waits_for_the_end_of_a_hold() -> None:
    one = EventFlow(lambda size, lines: None)
    one.holds.set("client", True)

    async def read() -> list[bytes]:
        return [piece async for piece in one.pieces(chunks(b"a\n", b"b\n"))]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    assert not reading.done()
    one.holds.set("client", False)
    assert await reading == [b"a\n", b"b\n"]


class Debtor:
    """A connection with answers that wait."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.faults: list[str] = []
        self.holds = flow.Holds(lambda held: None)
        self.owed = Owed(lambda: self.size, self.holds, self.faults.append)

    def grow(self, size: int) -> None:
        self.size = size
        self.owed.grew()


async def test_connection_is_read_again_once_half_of_the_answers_are_taken() -> None:
    one = Debtor()
    one.grow(flow.MAX_OWED)
    assert not one.holds.reasons
    one.grow(flow.MAX_OWED + 1)
    assert one.holds.reasons
    one.size = flow.MAX_OWED
    one.owed.shrank()
    assert one.holds.reasons
    one.size = flow.MAX_OWED // 2
    one.owed.shrank()
    assert not one.holds.reasons


async def test_connection_ends_if_no_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "OWED_GRACE", 0.02)
    one = Debtor()
    one.grow(flow.MAX_OWED + 1)
    await eventually(lambda: one.faults, "a fault")
    assert one.faults == ["asks and does not take the answers; 16 MiB of them wait for it"]


async def test_slow_reader_keeps_its_connection() -> None:
    one = Debtor()
    one.grow(flow.MAX_OWED * 2)
    for _ in range(5):
        one.size -= 1
        await skip(flow.OWED_GRACE)
    assert not one.faults
    await skip(flow.OWED_GRACE)
    assert one.faults
    one.owed.close()


@pytest.mark.usefixtures("short_turns")
async def test_unexpected_error_is_reported_in_any_turn() -> None:
    one = Lines()

    def receive(line: bytes) -> None:
        if line == b"3":
            raise MemoryError

    one.flow = LineFlow(LineSplitter(), receive, no_large, print, one.errors.append)
    one.flow.add(b"1\n2\n3\n")
    await eventually(lambda: one.errors, "the error")
    assert isinstance(one.errors[0], MemoryError)


async def test_lines_after_a_large_one_wait_for_it() -> None:
    one, large = Lines(), b"x" * (LARGE + 1)
    one.flow.add(b"1\n" + large[:1000])
    one.flow.add(large[1000:] + b"\n2\n")
    one.flow.add(b"3\n")
    assert one.lines == [b"1"]
    assert not one.transport.reads
    await eventually(lambda: len(one.lines) == 4, "the lines arrive")
    assert one.lines == [b"1", large, b"2", b"3"]
    assert one.transport.reads


async def test_lines_after_a_batch_wait_for_it() -> None:
    one = Lines()
    one.flow.add(b"1\n")
    one.flow.add(b"[2]\n")
    one.flow.add(b"3\n[4]\n5\n")
    assert one.lines == [b"1"]
    assert not one.transport.reads
    await eventually(lambda: len(one.lines) == 5, "the lines arrive")
    assert one.lines == [b"1", b"[2]", b"3", b"[4]", b"5"]
    assert one.transport.reads


async def test_closed_flow_ends_with_its_large_line() -> None:
    one = Lines()
    one.flow.add(b"x" * (LARGE + 1))
    one.flow.add(b"\n1\n")
    one.flow.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert one.lines == []
