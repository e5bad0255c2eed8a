"""The gate before the calls of a server: in which order it asks, what is left of the timeout, and what a successor takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import Raw

from dynamic_mcp.config.model import CallRules, RateLimit
from dynamic_mcp.errors import CallRefused, UpstreamTimeout
from dynamic_mcp.extras.policy.enforcer import PolicyEnforcer
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Options
from tests.dynamic_mcp.helpers import WITHIN, eventually

TOOL = Raw(b'{"name":"t","inputSchema":{"required":["x"]}}')


class Server:
    """Takes calls, and answers them when it is told to."""

    def __init__(self, gate: PolicyEnforcer) -> None:
        self.gate = gate
        self.timeouts: list[float] = []
        self.answers = asyncio.Event()

    async def call(self, args: bytes = b'{"x":1}', timeout: float = WITHIN) -> bytes:
        return await self.gate.call("t", TOOL, args, Options(timeout), self._take)

    async def _take(self, options: Options) -> bytes:
        assert options.timeout is not None
        self.timeouts.append(options.timeout)
        try:
            async with asyncio.timeout(options.timeout):
                await self.answers.wait()
        except TimeoutError:
            raise UpstreamTimeout("no answer") from None
        return b"{}"


@asynccontextmanager
async def server(policy: CallRules) -> AsyncIterator[Server]:
    guard = Guard()
    gate = PolicyEnforcer("a", policy, guard)
    try:
        yield Server(gate)
    finally:
        await gate.close()
        await guard.close()


async def test_what_is_not_valid_does_not_count() -> None:
    async with server(CallRules(True, RateLimit(1, 60.0), 1)) as one:
        one.answers.set()
        for _ in range(3):
            with pytest.raises(CallRefused, match="required"):
                await one.call(b"{}")
        assert await one.call() == b"{}"
        with pytest.raises(CallRefused, match="rate_limit"):
            await one.call()


async def test_the_timeout_of_a_call_is_what_its_waiting_left_of_it() -> None:
    async with server(CallRules(max_concurrent_calls=1)) as one:
        first = asyncio.create_task(one.call(timeout=0.2))
        await eventually(lambda: one.timeouts, "the first call")
        with pytest.raises(UpstreamTimeout, match=r"^no answer, after it had waited 0\.[12] s for its turn"):
            await one.call(timeout=0.4)
        with pytest.raises(UpstreamTimeout, match=r"^no answer$"):
            await first
    assert one.timeouts[0] == 0.2
    assert one.timeouts[1] < 0.3


async def test_a_successor_counts_what_its_predecessor_let_through() -> None:
    policy = CallRules(rate_limit=RateLimit(2, 60.0))
    async with server(policy) as old, server(policy) as new:
        for one in (old, new):
            one.answers.set()
        await old.call()
        new.gate.inherit(old.gate)
        await new.call()
        with pytest.raises(CallRefused):
            await new.call()


async def test_a_policy_that_is_taken_back_lets_everybody_through() -> None:
    async with server(CallRules(max_concurrent_calls=1)) as one:
        calls = [asyncio.create_task(one.call()) for _ in range(3)]
        await eventually(lambda: one.timeouts, "the first call")
        one.gate.set(CallRules())
        await eventually(lambda: len(one.timeouts) == 3, "all three")
        one.answers.set()
        assert await asyncio.gather(*calls) == [b"{}"] * 3
