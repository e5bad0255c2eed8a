"""Questions during a call: an unreadable answer changes nothing, and a refusal ends the other questions."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.exchange import Exchange, Exchanges
from dynamic_mcp.frontend.questions import Question, Questions, ask_client
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Message, Refusal
from tests.dynamic_mcp.fakes import FakeGroup, NoConnector, server, silent_relay

ELICIT = "elicitation/create"
CAPABILITIES = b'{"elicitation":{}}'


def tool_call(group: Group | None = None, inputs: bytes = b"{}", relay: Relay | None = None) -> Call:
    """A modern request, with answers to earlier questions."""
    call = Call(
        Incoming(
            b"1",
            "tools/call",
            Raw(b'{"inputResponses":%b}' % inputs),
            lambda line: None,
            capabilities=CAPABILITIES,
        ),
        silent_relay() if relay is None else relay,
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


# Several questions, and several calls


async def settled() -> None:
    """Let every task take the steps that need no event from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


class Calls:
    """The calls of one modern client to one group. The work of each ends with ``finish``."""

    def __init__(self) -> None:
        self.group = FakeGroup(server("a"))
        self.session = ClientSession(lambda line: None)
        self.session.set_ready(CAPABILITIES, b"")
        self.relay = Relay(self.session, {"a": self.group})
        self.exchanges = self.relay.exchanges

    def begin(self, relay: Relay | None = None) -> tuple[Call, asyncio.Future[bytes], asyncio.Task[bytes]]:
        """A call in flight, the result of its upstream, and its answer."""
        call = tool_call(self.group, relay=relay or self.relay)
        finish: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def work() -> bytes:
            return await finish

        return call, finish, asyncio.ensure_future(self.exchanges.run(Exchange(work(), call)))

    def ask(self, *callers: Call, name: str = "q") -> asyncio.Task[bytes]:
        """A question of the upstream during one of these calls."""
        message = Message(method=ELICIT, params=Raw(b'{"message":"%b"}' % name.encode()))
        return asyncio.ensure_future(self.relay.on_request(self.group, message, callers))

    async def answer(self, shown: dict[str, Any], *keys: str) -> asyncio.Task[bytes]:
        """The answer to a further request, which accepts these questions."""
        inputs = {key: {"action": "accept"} for key in keys}
        call = tool_call(inputs=json.dumps(inputs).encode())
        return asyncio.ensure_future(self.exchanges.resume(shown["requestState"], call))


def questions_in(shown: dict[str, Any]) -> dict[str, str]:
    """The texts of the questions in a result, each with its key."""
    return {one["params"]["message"].removeprefix("[a] "): key for key, one in shown["inputRequests"].items()}


async def shown_in(answer: asyncio.Task[bytes]) -> dict[str, Any]:
    async with asyncio.timeout(5):
        shown = json.loads(await answer)
    assert shown["resultType"] == "input_required"
    return dict(shown)


async def refused(question: asyncio.Task[bytes]) -> str:
    """Why the upstream gets no answer to its question."""
    async with asyncio.timeout(5):
        with pytest.raises(Refusal) as raised:
            await question
    return str(raised.value)


async def test_a_question_ends_with_its_call() -> None:
    calls = Calls()
    call, finish, answer = calls.begin()
    question = calls.ask(call)
    shown = await shown_in(answer)
    late = calls.ask(call, name="late")
    await settled()
    finish.set_result(b'{"content":[]}')
    (key,) = questions_in(shown).values()
    assert await (await calls.answer(shown, key)) == b'{"content":[]}'
    assert json.loads(await question) == {"action": "accept"}
    assert "has ended" in await refused(late)


@pytest.mark.parametrize("way", ["expired", "closed", "cancelled"])
async def test_a_question_without_an_answer_ends(way: str) -> None:
    calls = Calls()
    call, _, answer = calls.begin()
    question = calls.ask(call)
    shown = await shown_in(answer)
    if way == "expired":
        calls.exchanges._expire(shown["requestState"])
    elif way == "closed":
        calls.exchanges.close()
    else:
        (key,) = questions_in(shown).values()
        resumed = await calls.answer(shown, key)
        await settled()
        question = calls.ask(call)
        resumed.cancel()
        await asyncio.wait([resumed])
    assert "has ended" in await refused(question)
    assert not calls.exchanges._running


async def test_an_answered_question_is_not_asked_again() -> None:
    calls = Calls()
    call, finish, answer = calls.begin()
    first = calls.ask(call, name="first")
    shown = await shown_in(answer)
    second = calls.ask(call, name="second")
    await settled()
    shown = await shown_in(await calls.answer(shown, *questions_in(shown).values()))
    assert list(questions_in(shown)) == ["second"]
    resumed = await calls.answer(shown, *questions_in(shown).values())
    assert [json.loads(await question) for question in (first, second)] == [{"action": "accept"}] * 2
    finish.set_result(b"{}")
    assert await resumed == b"{}"


async def test_a_withdrawn_question_is_not_asked() -> None:
    calls = Calls()
    call, finish, answer = calls.begin()
    shown_first = calls.ask(call)
    shown = await shown_in(answer)
    withdrawn = calls.ask(call)
    await settled()
    withdrawn.cancel()
    await settled()
    resumed = await calls.answer(shown, *questions_in(shown).values())
    await shown_first
    await settled()
    assert not resumed.done()
    finish.set_result(b"{}")
    assert await resumed == b"{}"


async def test_a_question_during_two_calls_goes_to_the_newest_and_then_to_the_one_that_asks() -> None:
    calls = Calls()
    (a, _, _), (b, _, of_b) = calls.begin(), calls.begin()
    first = calls.ask(a, b)
    shown = await shown_in(of_b)
    c, _, of_c = calls.begin()
    resumed = await calls.answer(shown, *questions_in(shown).values())
    await first
    calls.ask(a, b, c, name="second")
    assert list(questions_in(await shown_in(resumed))) == ["second"]
    # The client waits for the answer of this call only, so it gets a further question at once.
    calls.ask(a, b, c, name="third")
    assert list(questions_in(await shown_in(of_c))) == ["third"]


async def test_a_question_goes_on_to_another_call_when_its_call_ends() -> None:
    calls = Calls()
    (a, _, of_a), (b, finish, of_b) = calls.begin(), calls.begin()
    questions = [calls.ask(a), calls.ask(b)]
    shown_a, shown_b = await shown_in(of_a), await shown_in(of_b)
    calls.ask(a, b, name="moved")
    await settled()
    finish.set_result(b"{}")
    assert await (await calls.answer(shown_b, *questions_in(shown_b).values())) == b"{}"
    again = await shown_in(await calls.answer(shown_a, *questions_in(shown_a).values()))
    assert list(questions_in(again)) == ["moved"]
    assert [json.loads(await question) for question in questions] == [{"action": "accept"}] * 2


async def test_a_question_without_a_call_says_so() -> None:
    calls = Calls()
    assert "no call" in await refused(calls.ask())


async def test_a_question_that_the_client_cannot_answer_says_so() -> None:
    calls = Calls()
    message = Message(method="roots/list")
    call, _, _ = calls.begin()
    question = asyncio.ensure_future(calls.relay.on_request(calls.group, message, (call,)))
    assert "does not support roots/list" in await refused(question)


async def test_a_question_never_goes_to_the_call_of_another_client() -> None:
    calls = Calls()
    calls.begin(silent_relay())
    assert "no call" in await refused(calls.ask())


async def test_the_log_says_why_a_question_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Relay):
        async def on_request(self, group: Any, message: Message, callers: Any) -> bytes:
            raise Refusal(INTERNAL_ERROR, "because of this")

    group = Group(server("a"), NoConnector(), Refusing(ClientSession(lambda line: None), {}), Hooks())
    with caplog.at_level("DEBUG", "dynamic_mcp"), pytest.raises(Refusal):
        await group.on_request(Message(method=ELICIT), ())
    assert "group a" in caplog.text
    assert "because of this" in caplog.text
