"""The call policy of a server: the order of its checks, the remaining timeout, and the hand-over to a successor."""

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
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.helpers import WITHIN, eventually

TOOL = Raw(b'{"name":"t","inputSchema":{"required":["x"]}}')


class Server:
    """Takes calls, and answers them once ``answers`` is set."""

    def __init__(self, enforcer: PolicyEnforcer) -> None:
        self.enforcer = enforcer
        self.timeouts: list[float] = []
        self.answers = asyncio.Event()

    async def call(self, args: bytes = b'{"x":1}', timeout: float = WITHIN) -> bytes:
        return await self.enforcer.call("t", TOOL, args, Options(timeout), self._take)

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
    enforcer = PolicyEnforcer("a", policy, guard)
    try:
        yield Server(enforcer)
    finally:
        await enforcer.close()
        await guard.close()


async def test_invalid_calls_do_not_count_for_the_rate() -> None:
    async with server(CallRules(True, RateLimit(1, 60.0), 1)) as one:
        one.answers.set()
        for _ in range(3):
            with pytest.raises(CallRefused, match="required"):
                await one.call(b"{}")
        assert await one.call() == b"{}"
        with pytest.raises(CallRefused, match="rate_limit"):
            await one.call()


async def test_wait_for_a_slot_counts_towards_the_timeout() -> None:
    async with server(CallRules(max_concurrent_calls=1)) as one:
        first = asyncio.create_task(one.call(timeout=0.2))
        await eventually(lambda: one.timeouts, "the first call")
        with pytest.raises(UpstreamTimeout, match=r"^no answer, after it had waited 0\.[12] s for its turn"):
            await one.call(timeout=0.4)
        with pytest.raises(UpstreamTimeout, match=r"^no answer$"):
            await first
    assert one.timeouts[0] == 0.2
    assert one.timeouts[1] < 0.3


async def test_successor_inherits_the_calls_of_its_predecessor() -> None:
    policy = CallRules(rate_limit=RateLimit(2, 60.0))
    async with server(policy) as old, server(policy) as new:
        for one in (old, new):
            one.answers.set()
        await old.call()
        new.enforcer.inherit(old.enforcer)
        await new.call()
        with pytest.raises(CallRefused):
            await new.call()


async def test_removed_policy_allows_waiting_calls() -> None:
    async with server(CallRules(max_concurrent_calls=1)) as one:
        calls = [asyncio.create_task(one.call()) for _ in range(3)]
        await eventually(lambda: one.timeouts, "the first call")
        one.enforcer.set(CallRules())
        await eventually(lambda: len(one.timeouts) == 3, "all three")
        one.answers.set()
        assert await asyncio.gather(*calls) == [b"{}"] * 3
