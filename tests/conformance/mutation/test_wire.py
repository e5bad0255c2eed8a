"""The filter of lines: what no change touches passes byte for byte and in order, and the end passes too."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from conformance.mutants import wire
from conformance.mutants.wire import Direction, Way, params_of, results_of, without

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message

ODD = [
    b'{ "jsonrpc": "2.0",  "method": "x", "params": {"a": 1.50, "a": 1e400} }\n',
    b"not JSON \xff\n",
    b"[1, 2]\n",
    b'"half a line"',
]


def test_lines_pass_byte_for_byte_in_order_until_the_end() -> None:
    direction = Direction(lambda: None)
    direction(lambda message, way: message)

    assert passed(direction, *ODD) == ODD


def test_a_change_drops_adds_and_alters_messages() -> None:
    direction = Direction(lambda: None)
    direction(without("dropped"), params_of("altered", lambda params: {**params, "more": True}))

    def add(message: Message, way: Way) -> Changed:
        return [message, {"method": "added"}] if message["method"] == "altered" else message

    direction(add)
    lines = [b'{"method":"dropped"}\n', b'{"method":"altered","params":{"pi":3.141592653589793238462643}}\n']

    assert passed(direction, *lines) == [
        b'{"method":"altered","params":{"pi":3.141592653589793238462643,"more":true}}\n',
        b'{"method":"added"}\n',
    ]


def test_an_answer_is_known_by_its_request() -> None:
    there, back = Direction(lambda: None), Direction(lambda: None)
    back(results_of("ping", lambda result: {"changed": True}))
    ways = opened(there), opened(back)
    ways[0][0].back, ways[1][0].back = ways[1][0], ways[0][0]

    pumped(ways[0][0], b'{"id":1,"method":"ping"}\n', b'{"id":"1","method":"other"}\n')
    assert ways[0][0].oldest == 1
    pumped(ways[1][0], b'{"id":"1","result":{}}\n', b'{"id":1,"result":{}}\n')

    assert lines_of(ways[1][1]) == [b'{"id":"1","result":{}}\n', b'{"id":1,"result":{"changed":true}}\n']
    assert ways[0][0].asked == {}


def test_a_direction_ends_where_a_change_hangs_up() -> None:
    direction = Direction(lambda: None)

    def hang_up(line: bytes, way: Way) -> bytes:
        if b"bad" in line:
            raise wire.HangUp
        return line

    direction.lines(hang_up)

    assert passed(direction, b"good\n", b"bad\n", b"never\n") == [b"good\n"]


def test_a_direction_ends_at_both_ends_when_its_receiver_is_gone() -> None:
    way, peer = opened(Direction(lambda: None))
    way.back = Direction(lambda: None).opened(io.BytesIO())
    reader, writer = os.pipe()
    thread = threading.Thread(target=way.pump, args=(os.fdopen(reader, "rb"),))
    thread.start()
    os.close(peer)
    os.write(writer, b'{"id":1,"result":{}}\n')
    thread.join(5.0)

    assert not thread.is_alive()
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"another line\n")
    os.close(writer)


def passed(direction: Direction, *lines: bytes) -> list[bytes]:
    way, reader = opened(direction)
    way.back = Direction(lambda: None).opened(io.BytesIO())
    pumped(way, *lines)
    return lines_of(reader)


def opened(direction: Direction) -> tuple[Way, int]:
    """A connection of the direction, and the descriptor behind it."""
    reader, writer = os.pipe()
    return direction.opened(os.fdopen(writer, "wb", 0)), reader


def pumped(way: Way, *lines: bytes) -> None:
    reader, writer = os.pipe()
    thread = threading.Thread(target=way.pump, args=(os.fdopen(reader, "rb"),))
    thread.start()
    os.write(writer, b"".join(lines))
    os.close(writer)
    thread.join(5.0)
    assert not thread.is_alive()


def lines_of(descriptor: int) -> list[bytes]:
    with os.fdopen(descriptor, "rb") as reader:
        return reader.readlines()
