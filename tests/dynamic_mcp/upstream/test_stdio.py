"""A child process as an upstream: its end, on the event loop of asyncio."""

from __future__ import annotations

import sys

import pytest

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.stdio import StdioUpstream
from tests.dynamic_mcp.fakes import FakeGroup, server


async def test_second_close_of_an_exited_child_does_nothing(guard: Guard) -> None:
    transport = StdioTransport(sys.executable, ("-c", "import sys; sys.exit(3)"), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)

    with pytest.raises(UpstreamGone, match=r"ended \(exit code 3\)"):
        await upstream.open(5.0)

    await upstream.close()
    await upstream.close()
