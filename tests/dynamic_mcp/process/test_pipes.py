"""Lines leave at once, or soon and in batches."""

from __future__ import annotations

import asyncio
from typing import cast

from dynamic_mcp.process.pipes import BATCH_SIZE, LineWriter


class Transport:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False


async def test_single_line_leaves_at_once_and_the_lines_of_a_burst_in_batches() -> None:
    transport = Transport()
    writer = LineWriter(cast("asyncio.WriteTransport", transport))
    writer.write(b"first\n")
    assert transport.written == [b"first\n"]
    await asyncio.sleep(0)
    lines = [b"%d\n" % number for number in range(3 * BATCH_SIZE)]
    for line in lines:
        writer.write(line)
    await asyncio.sleep(0)
    assert b"".join(transport.written[1:]) == b"".join(lines)
    assert len(transport.written) < 1 + len(lines) / 2
