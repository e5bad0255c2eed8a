"""Questions to the user: an upstream that needs an answer of the client before it can finish a call.

The two eras ask in opposite ways. A legacy upstream sends a request of its own in the middle of a call. A modern upstream answers the call
with ``input_required``, and gets the answers with a second call (MCP 2026-07-28, multi round trip requests). This module turns each into
the other, so that any client can answer any upstream:

- ``elicit_by_request`` lets a legacy client answer the questions of a modern upstream: they become requests to the client;
- ``elicit_by_result`` lets a modern client answer the requests of a legacy upstream: the call goes on in the background (``Exchange``)
  while the client gets ``input_required``, and the client's second call waits for the same one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.frontend import bridge
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.session import NEEDED, USER_TIMEOUT, ClientSession, answerable, refusal_of
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal

#: The most rounds of questions that one call may take.
MAX_ROUNDS = 20

#: Answers one request of the client: the result, as JSON. Raises Refusal and UpstreamError.
Handler = Callable[[Call], Coroutine[Any, Any, bytes]]

_MARK = b'"input_required"'
#: How a state of ours begins; every other one belongs to an upstream.
_OURS = "dynamic-mcp:"


class Question(msgspec.Struct):
    """One request that the client has to answer."""

    method: str
    params: Raw = Raw(b"{}")


class Questions(msgspec.Struct):
    """A result that is not the end yet."""

    requests: dict[str, Question] = msgspec.field(name="inputRequests", default_factory=dict)
    state: Raw = msgspec.field(name="requestState", default=Raw(b""))


class _Type(msgspec.Struct):
    kind: str | None = msgspec.field(name="resultType", default=None)


def questions_of(result: bytes) -> Questions | None:
    """The questions of a modern upstream's result; None for a final one. Raises UpstreamFailed when they cannot be read."""
    if _MARK not in result:
        return None
    try:
        if msgspec.json.decode(result, type=_Type).kind != "input_required":
            return None
        return msgspec.json.decode(result, type=Questions)
    except msgspec.DecodeError:
        raise UpstreamFailed("its question to the user cannot be read") from None


async def responses(
    questions: Questions, can: Callable[[str], bool], ask: Callable[[str, bytes], Awaitable[bytes]]
) -> Raw:
    """Ask a legacy client everything at once; the ``inputResponses`` for the second call.

    Raises UpstreamFailed when the client cannot be asked, or refuses to answer.
    """
    for question in questions.requests.values():
        if not can(NEEDED.get(question.method, "")):
            raise UpstreamFailed(
                f"the tool needs {question.method} of the client, which this client does not offer"
            )
    try:
        answers = await asyncio.gather(
            *(ask(question.method, bytes(question.params)) for question in questions.requests.values())
        )
    except UpstreamError:
        raise UpstreamFailed("the client did not answer what the tool asked for") from None
    given = {key: Raw(answer) for key, answer in zip(questions.requests, answers, strict=True)}
    return Raw(msgspec.json.encode(given))


class Exchange:
    """A call of a modern client that goes on while the client is asked."""

    def __init__(
        self, work: Coroutine[Any, Any, bytes], group: Callable[[], Group | None], capabilities: bytes
    ) -> None:
        self._work = asyncio.get_running_loop().create_task(work)
        self._group = group
        self._answerable = answerable(capabilities)
        self._asked: dict[str, tuple[Question, asyncio.Future[bytes]]] = {}
        #: set when there is a result or a new question
        self._progressed = asyncio.Event()
        self._work.add_done_callback(lambda _: self._progressed.set())
        self._shown: set[str] = set()

    def concerns(self, group: Group, method: str) -> bool:
        """Whether a question of this upstream can be put to the client of this call."""
        return self._group() is group and NEEDED.get(method) in self._answerable and not self._work.done()

    async def ask(self, method: str, params: bytes) -> bytes:
        """Put a question to the client; its answer."""
        key = f"q{secrets.token_hex(4)}"
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[key] = Question(method, Raw(params or b"{}")), answer
        self._progressed.set()
        try:
            return await answer
        finally:
            self._asked.pop(key, None)

    async def next(self) -> bytes | None:
        """Wait for the result of the call, or for a question (None). Cancelling this cancels the call."""
        try:
            await self._progressed.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._work.done():
            return self._work.result()
        self._progressed.clear()
        return None

    def shown(self, state: str) -> bytes:
        """The ``input_required`` result with every question that is open."""
        self._shown = set(self._asked)
        asked = {key: question for key, (question, _) in self._asked.items()}
        value = {"resultType": "input_required", "inputRequests": asked, "requestState": state}
        return msgspec.json.encode(value)

    def answer(self, inputs: Raw) -> None:
        """Take the client's answers. A question that it was shown and did not answer is refused."""
        try:
            given = msgspec.json.decode(inputs or b"{}", type=dict[str, Raw])
        except msgspec.DecodeError:
            raise Refusal(INVALID_PARAMS, "inputResponses must be an object") from None
        for key in self._shown:
            if key in self._asked and not (future := self._asked[key][1]).done():
                if key in given:
                    future.set_result(bytes(given[key]))
                else:
                    future.set_exception(refusal_of(self._asked[key][0].method))

    def cancel(self) -> None:
        """End the call; its upstream is told."""
        self._work.cancel()


class Exchanges:
    """The calls of modern clients: those in flight, and those that wait for a second call."""

    def __init__(self) -> None:
        self._running: set[Exchange] = set()
        self._waiting: dict[str, tuple[Exchange, asyncio.TimerHandle]] = {}

    async def run(self, exchange: Exchange) -> bytes:
        """The result of the call, or the questions on the way to it."""
        self._running.add(exchange)
        try:
            result = await exchange.next()
        except BaseException:
            self._running.discard(exchange)
            raise
        if result is not None:
            self._running.discard(exchange)
            return result
        state = f"{_OURS}{secrets.token_urlsafe(24)}"
        timer = asyncio.get_running_loop().call_later(USER_TIMEOUT, self._expire, state)
        self._waiting[state] = exchange, timer
        return exchange.shown(state)

    async def resume(self, state: str, inputs: Raw) -> bytes:
        """Go on with a call after its questions were answered. Raises Refusal for a state that is not known (any more)."""
        exchange, timer = self._waiting.pop(state, (None, None))
        if exchange is None or timer is None:
            raise Refusal(INVALID_PARAMS, "requestState is not known here any more; make the call anew")
        timer.cancel()
        exchange.answer(inputs)
        return await self.run(exchange)

    def find_for(self, group: Group, method: str) -> Exchange | None:
        """The one call that a question of the upstream can belong to; None where there is none, or more than one."""
        concerned = [exchange for exchange in self._running if exchange.concerns(group, method)]
        return concerned[0] if len(concerned) == 1 else None

    def close(self) -> None:
        """End what waits for a second call."""
        for exchange, timer in self._waiting.values():
            timer.cancel()
            exchange.cancel()
        self._waiting.clear()

    def _expire(self, state: str) -> None:
        exchange, _ = self._waiting.pop(state)
        self._running.discard(exchange)
        exchange.cancel()


def state_of_ours(state: Raw) -> str | None:
    """The text of a ``requestState`` that was made here; None for an upstream's."""
    try:
        text = msgspec.json.decode(state, type=str)
    except msgspec.DecodeError:
        return None
    return text if text.startswith(_OURS) else None


def elicit_by_request(handler: Handler, session: ClientSession) -> Handler:
    """A handler for a legacy client: the client is asked by requests, then the call is made again with its answers."""

    async def run(call: Call) -> bytes:
        for _ in range(MAX_ROUNDS):
            result = await handler(call)
            if call.is_legacy_on_both_sides:
                return result
            questions = questions_of(result)
            if questions is None:
                return bridge.legacy_result(result)
            call.inputs = await responses(questions, session.can, session.ask)
            call.state = questions.state
        raise UpstreamFailed(f"it asked more than {MAX_ROUNDS} times")

    return run


def elicit_by_result(handler: Handler, exchanges: Exchanges) -> Handler:
    """A handler for a modern client: requests of a legacy upstream become questions in a result."""

    async def run(call: Call) -> bytes:
        state = state_of_ours(call.state) if call.state else None
        if state is not None:
            return await exchanges.resume(state, call.inputs)
        capabilities = call.incoming.capabilities
        if not answerable(capabilities):
            return await handler(call)
        return await exchanges.run(Exchange(handler(call), lambda: call.group, capabilities))

    return run
