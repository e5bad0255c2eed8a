"""The end of a client on a stream that the event loop cannot poll, such as a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.protocol.pieces import Large
from tests.dynamic_mcp.helpers import WITHIN, eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")


class Lines:
    """Takes the lines of a client."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def receive(self, line: bytes) -> None:
        self.received.append(line)

    async def receive_large(self, line: Large) -> None:
        raise AssertionError("no line is large")

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        raise AssertionError("no line is oversized")


class Terminal:
    """A pseudo-terminal without line editing, and the end of its user."""

    def __init__(self, *, blocking: bool) -> None:
        import pty
        import tty

        self.user, self.stream = pty.openpty()
        tty.setraw(self.stream)
        os.set_blocking(self.stream, blocking)

    def hang_up(self) -> None:
        """Let the user go. A second call does nothing."""
        if self.user >= 0:
            os.close(self.user)
            self.user = -1


@pytest.fixture(params=[True, False], ids=["blocking", "non-blocking"])
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    found = Terminal(blocking=request.param)
    yield found
    found.hang_up()
    os.close(found.stream)


@asynccontextmanager
async def linked(terminal: Terminal) -> AsyncIterator[tuple[ClientLink, Lines]]:
    lines = Lines()
    link = ClientLink(terminal.stream, terminal.stream)
    await link.open(lines)
    try:
        yield link, lines
    finally:
        terminal.hang_up()
        # The thread that reads must not use the descriptor after the test.
        await asyncio.wait_for(link.wait_input_closed(), WITHIN)
        await link.close()


async def test_lines_of_a_terminal_arrive_until_it_closes(terminal: Terminal) -> None:
    async with linked(terminal) as (link, lines):
        for line in (b"one", b"two"):
            os.write(terminal.user, line + b"\n")
            await eventually(lambda line=line: lines.received[-1:] == [line], "the line arrives")  # type: ignore[misc]
        terminal.hang_up()
        await asyncio.wait_for(link.wait_input_closed(), WITHIN)


async def test_a_terminal_that_reads_slowly_gets_the_whole_answer(terminal: Terminal) -> None:
    answer = b"x" * (1 << 17) + b"\n"
    async with linked(terminal) as (link, _):
        read = asyncio.get_running_loop().run_in_executor(None, _read, terminal.user, len(answer))
        link.send(answer)
        assert await asyncio.wait_for(read, WITHIN) == answer


async def test_an_answer_to_a_closed_terminal_ends_the_session(terminal: Terminal) -> None:
    async with linked(terminal) as (link, _):
        terminal.hang_up()
        link.send(b"answer\n")
        await asyncio.wait_for(link.wait_output_closed(), WITHIN)


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data
