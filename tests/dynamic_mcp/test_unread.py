"""Writing to a stderr that is not read: no wait, no torn line, and the number of lost lines."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dynamic_mcp.unread import WAIT_FOR_ROOM, UnreadSink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no poll for pipes")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError as error:
            assert error.errno == errno.EBADF


def read_all(reader: int) -> bytes:
    found = b""
    try:
        while piece := os.read(reader, 1 << 20):
            found += piece
    except BlockingIOError:
        pass
    return found


def test_full_pipe_drops_lines_and_says_how_many(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = UnreadSink(writer)
    began = time.monotonic()
    for number in range(1000):
        sink.write(b"%d %s\n" % (number, b"x" * 1000))
    assert time.monotonic() - began < WAIT_FOR_ROOM + 1.0

    before = read_all(reader)
    sink.write(b"after\n")
    *lines, notice, last = (before + read_all(reader)).decode().splitlines()

    # The line that was begun goes on after the pause.
    assert [line.partition(" ")[0] for line in lines] == [str(n) for n in range(len(lines))]
    assert all(len(line.partition(" ")[2]) == 1000 for line in lines)
    assert notice == f"{1000 - len(lines)} log messages dropped, because stderr was not read"
    assert last == "after"
    assert len(lines) < 1000


def test_reader_that_has_gone_is_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = UnreadSink(writer)
    os.close(reader)

    sink.write(b"x\n")
    sink.write(b"y\n")


def test_non_blocking_pipe_is_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    sink = UnreadSink(writer)
    for _ in range(200):
        sink.write(b"x" * 999 + b"\n")

    read_all(reader)
    sink.write(b"after\n")
    assert read_all(reader).endswith(b"after\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has such a device")
def test_full_disk_is_no_error() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        sink = UnreadSink(descriptor)
        sink.write(b"x\n")
        sink.write(b"y\n")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_program_without_a_stream_uses_its_descriptor_for_nothing_else(descriptor: int) -> None:
    shown = f"os.readlink('/proc/self/fd/{descriptor}')"
    if sys.platform != "linux":
        shown = f"'/dev/null' if os.fstat({descriptor}) else ''"
    output = 2 if descriptor == 1 else 1
    program = f"from dynamic_mcp.unread import occupy_streams; occupy_streams(); import os; os.write({output}, {shown}.encode())"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {descriptor}>&-', "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == "/dev/null"
