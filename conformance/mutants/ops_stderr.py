"""Wrong ways to write to stderr."""

from __future__ import annotations

import os

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import client
from dynamic_mcp.unread import UnreadSink


@mutant("OPS-041")
def waits_for_a_reader_of_stderr() -> None:
    """The proxy behaved like this before version 1.2 of the requirements, as most programs do."""

    def wrong(self: UnreadSink, line: bytes) -> None:
        os.write(self.descriptor, line)

    replace(UnreadSink.write, wrong)


@mutant("OPS-042", crashes=True)
def ends_when_stderr_is_closed() -> None:
    def wrong(self: UnreadSink, line: bytes) -> None:
        try:
            os.write(self.descriptor, line)
        except OSError:
            os._exit(1)

    replace(UnreadSink.write, wrong)


@mutant("OPS-042")
def writes_to_stdout_when_stderr_is_closed() -> None:
    """`print` of Python does that if the program started without a stderr."""
    right = client.take_over_stdio
    sinks: list[int] = []

    def remember() -> tuple[int, int]:
        source, sink = right()
        sinks.append(sink)
        return source, sink

    def wrong(self: UnreadSink, line: bytes) -> None:
        try:
            os.write(self.descriptor, line)
        except OSError:
            os.write(sinks[0], line)

    replace(right, remember)
    replace(UnreadSink.write, wrong)
