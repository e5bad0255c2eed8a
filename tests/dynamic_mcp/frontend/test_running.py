"""A call ends without an answer only if the client cancelled it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.frontend import storms
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.running import RunningCalls
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.hooks import Hooks
from tests.dynamic_mcp.helpers import WITHIN


def begin(work: Awaitable[bytes], reports: int = 0) -> tuple[RunningCalls, asyncio.Queue[Any]]:
    """A call of the client that reports progress and then waits for this work, and what the client gets."""
    answers: asyncio.Queue[Any] = asyncio.Queue()
    calls = RunningCalls(Relay(ClientSession(lambda line: None), {}), Hooks())

    async def handler(call: Call) -> bytes:
        for number in range(reports):
            assert call.progress is not None
            call.progress.pass_on({"progress": Raw(b"%d" % number)})
        return await work

    params = Raw(b'{"_meta":{"progressToken":"t"}}')
    incoming = Incoming(b"7", "tools/list", params, lambda line: answers.put_nowait(json.loads(line)))
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


@pytest.mark.parametrize("reports", [1, 2 * storms.PROGRESS_BURST], ids=["one", "a storm"])
async def test_the_answer_does_not_come_at_once_after_the_last_report(reports: int) -> None:
    async def work() -> bytes:
        return b"{}"

    calls, received = begin(work(), reports)
    async with asyncio.timeout(WITHIN):
        while (report := await received.get())["params"]["progress"] < reports - 1:
            pass
        assert received.empty()
        assert calls.has(b"7")
        answer = await received.get()

    assert report["params"]["progressToken"] == "t"
    assert answer["result"] == {}


async def test_a_call_that_the_client_cancels_between_report_and_answer_is_not_answered() -> None:
    async def work() -> bytes:
        return b"{}"

    calls, received = begin(work(), 1)
    async with asyncio.timeout(WITHIN):
        await received.get()
        calls.cancel(Raw(b"7"))
        await calls.close()

    assert received.empty()
    assert not calls.has(b"7")
