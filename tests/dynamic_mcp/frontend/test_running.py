"""A call ends without an answer only if the client cancelled it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.running import RunningCalls
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.hooks import Hooks
from tests.dynamic_mcp.helpers import WITHIN


def begin(work: asyncio.Future[bytes]) -> tuple[RunningCalls, asyncio.Queue[Any]]:
    """A call of the client that waits for this work, and its answers."""
    answers: asyncio.Queue[Any] = asyncio.Queue()
    calls = RunningCalls(Relay(ClientSession(lambda line: None), {}), Hooks())

    async def handler(call: Call) -> bytes:
        return await work

    incoming = Incoming(b"7", "tools/list", Raw(b"{}"), lambda line: answers.put_nowait(json.loads(line)))
    calls.start(incoming, handler)
    return calls, answers


async def test_a_call_whose_work_was_cancelled_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    work: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    calls, answers = begin(work)
    await asyncio.sleep(0)
    work.cancel()
    async with asyncio.timeout(WITHIN):
        answer = await answers.get()

    assert answer["id"] == 7
    assert "the proxy ended what the request waited for" in answer["error"]["message"]
    assert "internal error CancelledError" in caplog.text
    assert not calls.has(b"7")


async def test_a_call_that_the_client_cancelled_is_not_answered() -> None:
    work: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    calls, answers = begin(work)
    await asyncio.sleep(0)
    calls.cancel(Raw(b"7"))
    async with asyncio.timeout(WITHIN):
        await calls.close()

    assert answers.empty()
    assert not calls.has(b"7")
