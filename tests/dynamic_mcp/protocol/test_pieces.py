"""Pieces of any size make up the same bytes, and small ones take little memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.protocol.pieces import LARGE, Large, Pieces, first_character

_PIECES = st.lists(st.sampled_from([b"", b"a", b"bc", b"d" * 4095, b"e" * 4096, b"f" * 4097, b"g" * 9000]))


@given(st.lists(_PIECES, max_size=3))
def test_pieces_make_up_the_same_bytes(rounds: list[list[bytes]]) -> None:
    pieces = Pieces()
    for added in rounds:
        for piece in added:
            pieces.add(piece)
        assert pieces.size == sum(map(len, added))
        assert bool(pieces) == any(added)
        assert pieces.take() == b"".join(added)
    assert pieces.take() == b""


def test_one_large_piece_is_not_copied() -> None:
    pieces, large = Pieces(), b"x" * 10_000
    pieces.add(large)
    assert pieces.take() is large


@pytest.mark.slow
def test_pieces_of_two_bytes_take_about_their_size() -> None:
    pieces = Pieces()
    tracemalloc.start()
    try:
        for number in range(500_000):
            pieces.add(b"%02d" % (number % 100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pieces.size == 1_000_000
    assert peak < 1_300_000


@pytest.mark.parametrize(
    "text", [b'{"a":1}', b'\xef\xbb\xbf{"a":1}', b' \r\n\t{"a":1}', b'\xef\xbb\xbf {"a":1}']
)
def test_the_first_character_of_json_comes_after_a_byte_order_mark_and_blanks(text: bytes) -> None:
    assert first_character(text) == b"{"
    assert first_character(Large([text[:2], text[2:] + b" " * LARGE])) == b"{"
    assert first_character(b"") == b""
