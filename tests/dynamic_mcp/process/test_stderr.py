"""The end of a child's stderr: what is kept, and that a value is hidden however it arrives."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.process.stderr import MAX_TAIL, StderrTail
from tests.dynamic_mcp.helpers import eventually

SECRET = "s3cr3t-value-4711"


class Pipe:
    def __init__(self) -> None:
        source, self.sink = os.pipe()
        self.tail = StderrTail(source, HiddenValues([SECRET, "x1" * MAX_TAIL]))


@pytest.fixture
async def pipe() -> Iterator[Pipe]:  # type: ignore[misc]
    pipe = Pipe()
    yield pipe
    os.close(pipe.sink)
    pipe.tail.close()


async def test_value_in_two_writes_is_hidden(pipe: Pipe) -> None:
    os.write(pipe.sink, b"token " + SECRET[:9].encode())
    assert pipe.tail.text() == f"token {SECRET[:9]}"
    os.write(pipe.sink, SECRET[9:].encode() + b" is bad\n")
    assert pipe.tail.text() == "token [hidden] is bad"


async def test_value_whose_begin_is_no_longer_kept_is_not_shown(pipe: Pipe) -> None:
    """A value that is larger than the tail, after much other output."""
    for data in (b"noise\n" * 20_000, b"x1" * MAX_TAIL, b"\nend\n"):
        view = memoryview(data)
        while view:
            view = view[os.write(pipe.sink, view[:4096]) :]
            pipe.tail.text()
    assert "x1" not in pipe.tail.text()
    assert pipe.tail.text().endswith("end")


@pytest.mark.slow
async def test_output_is_bounded_and_read_while_nobody_asks(pipe: Pipe) -> None:
    os.set_blocking(pipe.sink, False)
    written = 0

    def write() -> bool:
        nonlocal written
        with contextlib.suppress(BlockingIOError):
            written += os.write(pipe.sink, b"x1" * 5000)
        return written > 3_000_000

    await eventually(write, "the pipe is read")
    assert "x1" * 10 not in pipe.tail.text()


async def test_bytes_that_are_no_text_are_replaced(pipe: Pipe) -> None:
    os.write(pipe.sink, b"\xff\xfe ok " + SECRET.encode())
    assert pipe.tail.text() == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} ok [hidden]"
