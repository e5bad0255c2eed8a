"""Questions during a call: an unreadable answer changes nothing, and a refusal ends the other questions."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.exchange import Exchange, Exchanges
from dynamic_mcp.frontend.questions import Question, Questions, ask_client
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import Refusal
from tests.dynamic_mcp.fakes import FakeGroup, server

ELICIT = "elicitation/create"
CAPABILITIES = b'{"elicitation":{}}'


def tool_call(group: Group | None = None, inputs: bytes = b"{}") -> Call:
    """A modern request, with answers to earlier questions."""
    call = Call(
        Incoming(
            b"1",
            "tools/call",
            Raw(b'{"inputResponses":%b}' % inputs),
            lambda line: None,
            capabilities=CAPABILITIES,
        )
    )
    call.group = group
    return call


async def started() -> tuple[Exchanges, str, asyncio.Future[bytes]]:
    """A call that waits for an answer, its state, and the answer that reaches the upstream."""
    exchanges, group = Exchanges(), FakeGroup(server("a"))
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def work() -> bytes:
        got.set_result(await exchange.ask(ELICIT, b"{}"))
        return b'{"content":[]}'

    exchange = Exchange(work(), tool_call(group))
    shown = await exchanges.run(exchange)
    (state,) = exchanges._waiting
    assert state.encode() in shown
    return exchanges, state, got


@pytest.mark.parametrize("inputs", [b"5", b"[]", b'"x"'])
async def test_unreadable_answers_leave_the_call_waiting(inputs: bytes) -> None:
    exchanges, state, got = await started()
    with pytest.raises(Refusal, match="inputResponses must be an object"):
        await exchanges.resume(state, tool_call(inputs=inputs))
    ((exchange, _),) = exchanges._waiting.values()
    (key,) = exchange._questions
    result = await exchanges.resume(state, tool_call(inputs=b'{"%b":{"action":"accept"}}' % key.encode()))
    assert result == b'{"content":[]}'
    assert got.result() == b'{"action":"accept"}'
    assert not exchanges._running


async def test_refused_question_ends_the_others() -> None:
    ended: list[str] = []

    async def ask(method: str, params: bytes) -> bytes:
        if params == b'{"first":1}':
            raise UpstreamRefused(b'{"code":1,"message":"no"}')
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(method)
            raise
        return b"{}"

    questions = Questions({"a": Question(ELICIT, Raw(b'{"first":1}')), "b": Question(ELICIT, Raw(b"{}"))})
    async with asyncio.timeout(5):
        with pytest.raises(UpstreamFailed, match="the client did not answer"):
            await ask_client(questions, lambda capability: True, ask)
    assert ended == [ELICIT]
