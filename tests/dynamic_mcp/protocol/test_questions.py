"""Questions of the other side: each stops the clock of one call, and all together only for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import Message, Outgoing
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options

CALL = "tools/call"
TIMEOUT = 0.1
#: longer than the timeout
LONG = 0.3


class Asking:
    """A peer whose other side asks; each question waits for ``answer``."""

    def __init__(self) -> None:
        self.peer = Peer(self._send, lambda message: None, self._take)
        self._answers: dict[str, asyncio.Event] = {}
        self._last_id = 0

    def _send(self, message: Outgoing) -> None:
        self._last_id = json.loads(message.line).get("id", self._last_id)

    async def _take(self, message: Message, callers: Sequence[object]) -> bytes:
        await self._answers[bytes(message.id).decode()].wait()
        return b"{}"

    async def call(self, method: str = CALL, timeout: float = TIMEOUT) -> tuple[int, asyncio.Task[bytes]]:
        task = asyncio.create_task(self.peer.request(method, b"{}", Options(timeout)))
        await asyncio.sleep(0)
        return self._last_id, task

    async def ask(self, id: int, within: int | None = None) -> None:
        self._answers[str(id)] = asyncio.Event()
        text: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {}}
        self.peer.receive_message(jsonrpc.parse(json.dumps(text).encode()), within=within)
        await asyncio.sleep(0)

    def answer(self, id: int) -> None:
        self._answers[str(id)].set()

    def finish(self, id: int) -> None:
        self.peer.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % id)


async def times_out(task: asyncio.Task[bytes]) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(UpstreamTimeout):
            await task


async def test_the_user_may_take_longer_than_the_timeout() -> None:
    asking = Asking()
    id, task = await asking.call()
    await asking.ask(1)
    await asyncio.sleep(LONG)
    asking.answer(1)
    await asyncio.sleep(TIMEOUT / 4)
    asking.finish(id)
    assert await task == b"{}"


async def test_the_clock_goes_on_after_the_answer() -> None:
    asking = Asking()
    _, task = await asking.call()
    await asking.ask(1)
    await asyncio.sleep(LONG)
    asking.answer(1)
    await times_out(task)


async def test_older_and_younger_calls_time_out() -> None:
    asking = Asking()
    _, older = await asking.call()
    id, asks = await asking.call()
    await asking.ask(1)
    _, younger = await asking.call()
    await asking.ask(2)
    await asyncio.sleep(LONG)
    assert older.done()
    assert younger.done()
    await times_out(older)
    await times_out(younger)
    asking.finish(id)
    assert await asks == b"{}"


async def test_a_listing_is_not_a_call_that_asks() -> None:
    asking = Asking()
    id, call = await asking.call()
    _, listing = await asking.call("tools/list")
    await asking.ask(1)
    await times_out(listing)
    asking.finish(id)
    assert await call == b"{}"


async def test_a_transport_names_the_call() -> None:
    asking = Asking()
    id, older = await asking.call()
    _, younger = await asking.call()
    await asking.ask(1, within=id)
    await times_out(younger)
    asking.finish(id)
    assert await older == b"{}"


async def test_the_question_of_an_ended_call_counts_for_one_that_was_there() -> None:
    asking = Asking()
    first, older = await asking.call()
    second, younger = await asking.call()
    await asking.ask(1)
    asking.finish(second)
    await younger
    await asyncio.sleep(LONG)
    asking.finish(first)
    assert await older == b"{}"


@pytest.mark.parametrize("is_early", [False, True])
async def test_the_question_of_a_named_call_never_counts_for_another_one(is_early: bool) -> None:
    asking = Asking()
    first, older = await asking.call()
    _, younger = await asking.call()
    if is_early:
        await asking.ask(1, within=first)
    asking.finish(first)
    await older
    if not is_early:
        await asking.ask(1, within=first)
    await times_out(younger)


async def test_a_question_without_a_call_stops_no_later_one() -> None:
    asking = Asking()
    await asking.ask(1)
    _, task = await asking.call()
    await times_out(task)


@pytest.mark.parametrize("answers", [False, True])
async def test_all_questions_of_a_call_have_a_total(answers: bool) -> None:
    """Whether the server keeps one question open, or asks the next one before the answer to the last."""
    asking = Asking()
    began = asyncio.get_running_loop().time()
    _, task = await asking.call()
    (waiting,) = asking.peer._pending.values()
    waiting.allowance = LONG
    number = 0
    await asking.ask(0)
    while not task.done():
        await asyncio.sleep(0.02)
        if answers:
            number += 1
            await asking.ask(number)
            asking.answer(number - 1)
    await times_out(task)
    assert TIMEOUT + LONG - 0.02 <= asyncio.get_running_loop().time() - began < 2
