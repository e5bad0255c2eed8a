"""Questions to the client: an upstream may need an answer of the client before it can finish a call.

The two eras do this in opposite ways. A legacy upstream sends its own request during a call. A modern upstream answers the call with
``input_required``, and a second call brings the answers (MCP 2026-07-28, basic/patterns/mrtr). This module translates, so that any
client can answer any upstream:

- ``elicit_by_request`` turns the questions of a modern upstream into requests to a legacy client;
- ``elicit_by_result`` turns the requests of a legacy upstream into ``input_required`` for a modern client. The call goes on in the
  background (``Exchange``), and the client's second call waits for its result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend import bridge
from dynamic_mcp.frontend.attribution import attributed_refusal, attributed_result
from dynamic_mcp.frontend.call import Call, ClientRelay
from dynamic_mcp.frontend.questions import Question, ask_client, questions_of
from dynamic_mcp.frontend.session import (
    REQUIRED_CAPABILITIES,
    USER_TIMEOUT,
    ClientSession,
    known_capabilities,
    refusal_of,
    shows_pages,
)
from dynamic_mcp.frontend.valid_answers import valid_answer
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, Refusal, decode_members
from dynamic_mcp.protocol.pending import ASKS_THE_USER, MAX_ASKING, ClientCall

#: Rounds of questions in one call.
MAX_ROUNDS = 20

#: Answers one request of the client: the result, as JSON. Raises Refusal and UpstreamError.
Handler = Callable[[Call], Coroutine[Any, Any, bytes]]

#: The beginning of each ``requestState`` of the proxy; every other state belongs to an upstream.
_STATE_PREFIX = "dynamic-mcp:"


class CallEnded(Refusal):
    """The call that a question belongs to has ended before the client answered the question."""

    def __init__(self) -> None:
        super().__init__(INTERNAL_ERROR, "the call has ended before the client answered")


class Exchange:
    """A call of a modern client that goes on while the client answers a question."""

    def __init__(self, work: Coroutine[Any, Any, bytes], call: Call) -> None:
        self._work = asyncio.get_running_loop().create_task(work)
        #: the first request; the upstream works on this one
        self._call = call
        self._capabilities = known_capabilities(call.incoming.capabilities)
        self._questions: dict[str, tuple[Question, asyncio.Future[bytes]]] = {}
        #: set when there is a result or a new question
        self._progressed = asyncio.Event()
        self._work.add_done_callback(lambda _: self._progressed.set())
        self._shown: set[str] = set()
        #: whether it has a question, or had one
        self.has_asked = False
        #: whether the client has to send a further request first
        self.is_waiting = False

    def can_ask(self, group: Group, method: str, relay: ClientRelay) -> bool:
        """Whether the client of this relay made the call, and can answer this question of the upstream."""
        return (
            self._call.group is group
            and self._call.relay is relay
            and REQUIRED_CAPABILITIES.get(method) in self._capabilities
            and not self._work.done()
        )

    def is_one_of(self, calls: Sequence[ClientCall]) -> bool:
        """Whether the upstream works on one of these calls for this exchange."""
        return self._call in calls

    def is_about(self, groups: Collection[Group]) -> bool:
        """Whether the call is made to one of these groups, or waits for it."""
        return any(self._call.waits_for(group) for group in groups)

    def can_show_page(self, group: Group) -> bool:
        """Whether this call waits for the group, and its client can show a page to its user."""
        return (
            self.is_about((group,))
            and not self._work.done()
            and shows_pages(self._call.incoming.capabilities)
        )

    async def ask(self, method: str, params: bytes) -> bytes:
        """Send a question to the client; the answer. Raises CallEnded, and Refusal if the client does not answer."""
        import secrets

        key = f"q{secrets.token_hex(4)}"
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[key] = Question(method, Raw(params or b"{}")), answer
        self.has_asked = True
        self._progressed.set()
        try:
            return await answer
        finally:
            self._questions.pop(key, None)

    async def next(self) -> bytes | None:
        """Wait for the result of the call, or for a question (None). A cancellation cancels the call."""
        try:
            # A question can be gone again, because the upstream withdrew it.
            while not self._questions and not self._work.done():
                self._progressed.clear()
                await self._progressed.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self._work.result() if self._work.done() else None

    def input_required(self, state: str) -> bytes:
        """The ``input_required`` result with every open question."""
        self._shown, self.is_waiting = set(self._questions), True
        open_questions = {key: question for key, (question, _) in self._questions.items()}
        value = {"resultType": "input_required", "inputRequests": open_questions, "requestState": state}
        return msgspec.json.encode(value)

    def continue_with(self, call: Call) -> None:
        """Let a further request wait for the result: it gets the progress and the log messages from now on."""
        call.group = self._call.group
        self.is_waiting = False
        if self._call.progress is not None and call.progress is not None:
            self._call.progress.go_on(call.progress)
            call.progress = self._call.progress

    def take_answers(self, answers: Mapping[str, Raw]) -> None:
        """Take the client's answers, and refuse each question that the client has seen but not answered."""
        for key in self._shown & set(self._questions):
            question, future = self._questions.pop(key)
            if future.done():
                continue
            if key in answers:
                future.set_result(valid_answer(question.method, bytes(answers[key])))
            else:
                future.set_exception(refusal_of(question.method))

    def end(self) -> None:
        """Fail the open questions, because the client gets no further result."""
        for _, future in self._questions.values():
            if not future.done():
                future.set_exception(CallEnded())

    def cancel(self) -> None:
        """Cancel the call, also at the upstream."""
        self._work.cancel()


class Exchanges:
    """The calls of modern clients: those in flight, and those that wait for a second call."""

    def __init__(self) -> None:
        #: the oldest first
        self._running: dict[Exchange, None] = {}
        self._waiting: dict[str, tuple[Exchange, asyncio.TimerHandle]] = {}

    async def run(self, exchange: Exchange) -> bytes:
        """The result of the call, or its next questions."""
        self._running[exchange] = None
        try:
            result = await exchange.next()
        except BaseException:
            self._end(exchange)
            raise
        if result is not None:
            self._end(exchange)
            return result
        import secrets

        state = f"{_STATE_PREFIX}{secrets.token_urlsafe(24)}"
        timer = asyncio.get_running_loop().call_later(USER_TIMEOUT, self._expire, state)
        self._waiting[state] = exchange, timer
        return exchange.input_required(state)

    async def resume(self, state: str, call: Call) -> bytes:
        """Continue a call with another one, which has the answers to its questions.

        Raises Refusal for an unknown or expired state.
        """
        try:
            answers = decode_members(call.inputs or b"{}")
        except msgspec.DecodeError:
            # The exchange goes on waiting: the client may repeat its call with valid answers.
            raise Refusal(INVALID_PARAMS, "inputResponses must be an object") from None
        exchange, timer = self._waiting.pop(state, (None, None))
        if exchange is None or timer is None:
            raise Refusal(
                INVALID_PARAMS, "requestState is unknown or has expired; repeat the call without it"
            )
        timer.cancel()
        exchange.continue_with(call)
        exchange.take_answers(answers)
        return await self.run(exchange)

    def find_for(
        self, group: Group, method: str, callers: Sequence[ClientCall], relay: ClientRelay
    ) -> Exchange | None:
        """The call of one client, of ``callers`` if there are any, that gets a question of the upstream. None without one.

        Of several, it is one whose result the client waits for, then one that has asked before, then the newest one. A server asks soon
        after it was called.
        """
        candidates = [
            exchange
            for exchange in self._running
            if exchange.can_ask(group, method, relay) and (not callers or exchange.is_one_of(callers))
        ]
        # The last of equal ones is the newest.
        candidates.reverse()
        return max(candidates, key=lambda one: (not one.is_waiting, one.has_asked), default=None)

    def find_for_page(self, group: Group) -> Exchange | None:
        """A call that waits for the group, and whose client can show a page to its user."""
        return next((exchange for exchange in self._running if exchange.can_show_page(group)), None)

    def wait_for(self, groups: Collection[Group]) -> bool:
        """Whether a call to one of these groups waits for a second call."""
        return any(exchange.is_about(groups) for exchange, _ in self._waiting.values())

    def close(self) -> None:
        """Cancel the calls that wait for a second call."""
        for exchange, timer in self._waiting.values():
            timer.cancel()
            self._end(exchange)
            exchange.cancel()
        self._waiting.clear()

    def _expire(self, state: str) -> None:
        exchange, _ = self._waiting.pop(state)
        self._end(exchange)
        exchange.cancel()

    def _end(self, exchange: Exchange) -> None:
        # First, so that no question goes on to the same call.
        self._running.pop(exchange, None)
        exchange.end()


def own_state(state: Raw) -> str | None:
    """The text of a ``requestState`` of the proxy; None for that of an upstream."""
    try:
        text = msgspec.json.decode(state, type=str)
    except msgspec.DecodeError:
        return None
    return text if text.startswith(_STATE_PREFIX) else None


def elicit_by_request(handler: Handler, session: ClientSession) -> Handler:
    """A handler for a legacy client: it sends questions as requests, and makes the call again with the answers."""

    async def run(call: Call) -> bytes:
        for _ in range(MAX_ROUNDS):
            try:
                result = await handler(call)
            except UpstreamRefused as refusal:
                raise _attributed_refusal(call, refusal, session) from None
            if call.is_legacy_on_both_sides:
                return result
            result = _attributed_result(call, result)
            questions = questions_of(result)
            if questions is None:
                return bridge.legacy_result(result)
            assert call.group is not None
            began, ask = time.monotonic(), partial(session.ask, call.group, reply=call.incoming.send)
            try:
                async with asyncio.timeout(MAX_ASKING - call.clock.asked):
                    call.inputs = await ask_client(questions, session.has_capability, ask)
            except TimeoutError:
                raise UpstreamFailed(f"its questions took more than {MAX_ASKING:g} s") from None
            if any(question.method in ASKS_THE_USER for question in questions.requests.values()):
                call.clock.asked += time.monotonic() - began
            call.state = questions.state
        raise UpstreamFailed(f"it asked more than {MAX_ROUNDS} times")

    return run


def elicit_by_result(handler: Handler, session: ClientSession, exchanges: Exchanges) -> Handler:
    """A handler for a modern client: it puts the requests of a legacy upstream into ``input_required`` results."""

    async def run(call: Call) -> bytes:
        state = own_state(call.state) if call.state else None
        if state is not None:
            return await exchanges.resume(state, call)
        work = _attributed(handler, call, session)
        if not known_capabilities(call.incoming.capabilities):
            return await work
        return await exchanges.run(Exchange(work, call))

    return run


async def _attributed(handler: Handler, call: Call, session: ClientSession) -> bytes:
    """The result of a call of a modern client, with the name of its group in each question. Raises Refusal and UpstreamError."""
    try:
        return _attributed_result(call, await handler(call))
    except UpstreamRefused as refusal:
        raise _attributed_refusal(call, refusal, session) from None


def _attributed_result(call: Call, result: bytes) -> bytes:
    return result if call.group is None else attributed_result(call.group.name, result)


def _attributed_refusal(call: Call, refusal: UpstreamRefused, session: ClientSession) -> UpstreamRefused:
    return refusal if call.group is None else attributed_refusal(call.group, refusal, session.elicitations)
