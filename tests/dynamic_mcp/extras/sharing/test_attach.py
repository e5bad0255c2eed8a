"""One direction of an attached end: whole lines, and what happens to a line that is longer than the proxy takes."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no unix sockets for this", allow_module_level=True)

from dynamic_mcp.extras.sharing.attach import ByteFlow


def upper(max_line: float = float("inf")) -> ByteFlow:
    return ByteFlow(bytes.upper, max_line)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_only_whole_lines_go_on(size: int) -> None:
    way, data = upper(), b"one\ntwo\n\nthree"
    for at in range(0, len(data), size):
        way.feed(data[at : at + size])
    assert way.waiting == b"ONE\nTWO\n\n"
    way.finish()
    assert way.waiting == b"ONE\nTWO\n\nTHREE\n"


@pytest.mark.parametrize("size", [1, 3, 6, 100])
def test_line_that_is_too_long_goes_on_in_pieces_and_unread(size: int) -> None:
    way, data = upper(5), b"one\nlong line\ntwo\n"
    for at in range(0, len(data), size):
        way.feed(data[at : at + size])
    expected = b"ONE\nlong line\nTWO\n" if size < 100 else b"ONE\nLONG LINE\nTWO\n"
    assert way.waiting == expected


def test_rest_of_a_line_goes_to_no_other_process() -> None:
    way = upper(5)
    way.feed(b"long li")
    way.drop_waiting()
    way.feed(b"ne, still")
    way.feed(b" the same\nnext\n")
    assert way.waiting == b"NEXT\n"


def test_line_that_the_other_end_did_not_finish_is_dropped() -> None:
    way = upper()
    way.feed(b"one\ntorn")
    way.drop_line()
    way.feed(b"two\n")
    assert way.waiting == b"ONE\nTWO\n"
