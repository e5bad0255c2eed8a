"""One JSON-RPC connection, without input or output: it matches answers with requests, and passes on what the other side begins.

An answer reaches only the request with its id. The peer drops late, duplicate, unknown and unreadable answers; a malformed
answer with a readable id fails its request at once. For a request that times out or is cancelled, the peer sends
``notifications/cancelled`` (MCP 2025-11-25, basic/utilities/cancellation). It sends none for a request of a handshake, and none if
``on_cancelled`` says so. Progress reaches the request with its token, before the answer and only while the progress grows.

A request of the other side that asks the user something stops the clock of one call (``pending``). The peer works on few requests at
once, and refuses the others. Another side that sends nothing but junk is reported, and so is one that stops answering (``liveness``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import TooLarge, UpstreamError, UpstreamFailed, UpstreamTimeout
from dynamic_mcp.log import log
from dynamic_mcp.protocol import answers, jsonrpc, progress
from dynamic_mcp.protocol.callers import Callers
from dynamic_mcp.protocol.ids import cancelled_id, whole_number
from dynamic_mcp.protocol.incoming import IncomingRequests
from dynamic_mcp.protocol.jsonrpc import Malformed, Message, MoreFollows, NotUtf8, Outgoing, Repaired
from dynamic_mcp.protocol.junk import JunkCount
from dynamic_mcp.protocol.lines import MAX_MESSAGE
from dynamic_mcp.protocol.liveness import LONG_WAIT, LivenessCheck
from dynamic_mcp.protocol.oversized import OversizedMessages
from dynamic_mcp.protocol.pending import NEVER, OnRequest, Options, Pending, QuestionClocks
from dynamic_mcp.protocol.pieces import Line, is_batch

_NEVER_CANCELLED = frozenset({"initialize", "server/discover"})
#: The own requests that the other side can cancel (MCP 2026-07-28, basic/patterns/cancellation).
_CANCELLED_BY_RECEIVER = frozenset({"subscriptions/listen"})
#: The requests whose missing answer does not mean that the other side is silent.
_NEED_NO_ANSWER = _NEVER_CANCELLED | _CANCELLED_BY_RECEIVER

_PERHAPS_NO_MESSAGE = "; meanwhile it sent data that is no message of MCP, in which the answer may be lost"


class Peer:
    """Correlates requests and answers. ``send`` sends one message; the other callbacks get what the other side begins."""

    def __init__(
        self,
        send: Callable[[Outgoing], None],
        on_notification: Callable[[Message], None],
        on_request: OnRequest | None = None,
        on_cancelled: Callable[[int], bool] | None = None,
        *,
        max_size: int = MAX_MESSAGE,
        on_junk: Callable[[str], None] = lambda reason: None,
        ask: Callable[[float], Awaitable[object]] | None = None,
        on_oddity: Callable[[str], None] = lambda what: None,
        ids: Iterator[int] | None = None,
    ) -> None:
        """``on_cancelled`` gets the id of a request that timed out or was cancelled; true means that no notification is needed.

        ``max_size`` is the bound in bytes that the error of an oversized answer names. ``on_junk`` gets the reason to end the
        connection, because the other side sends nothing but junk, or answers neither its requests nor ``ask`` (see ``LivenessCheck``).
        ``on_oddity`` gets what the other side does against the protocol, without anything that it sent.
        ``on_request`` gets a request with the calls that it can belong to (``callers``). ``ids`` are the growing ids of the own
        requests, by default 1, 2, 3.
        """
        self._send = send
        self._on_notification = on_notification
        self._on_cancelled = on_cancelled
        self._max_size = max_size
        self._junk = JunkCount(on_junk)
        self._on_oddity, self._liveness = on_oddity, LivenessCheck(ask, on_junk)
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, Pending] = {}
        #: one timer for all requests, for the earliest deadline or earlier; a timer for each took 5 % of the time of a call
        self._timer: asyncio.Handle | None = None
        #: the loop time of the timer; with uvloop, a timer that is due within 0.5 ms has no ``when``
        self._wakes_at = NEVER
        #: the loop time of the last data that was no message
        self._malformed_at = -NEVER
        self._questions = QuestionClocks(self._pending, self._wake_at)
        self._on_request = on_request
        self._incoming = self._new_incoming()
        self._ids = count(1) if ids is None else ids
        #: the first and the last id so far
        self._first_id, self._last_id = 1, 0
        self._callers = Callers(self._pending)
        self._oversized = OversizedMessages(self.take_oversized)
        self._closed: UpstreamFailed | None = None

    def _new_incoming(self) -> IncomingRequests:
        return IncomingRequests(lambda line: self._send(Outgoing(line)), self._on_request, self._questions)

    async def request(
        self,
        method: str,
        params: bytes,
        options: Options,
        *,
        send: Callable[[Outgoing], None] | None = None,
    ) -> bytes:
        """Send a request and return the bytes of its result. ``send`` replaces the usual way out.

        Raises UpstreamTimeout, UpstreamRefused (a JSON-RPC error) or UpstreamFailed (the connection is gone, or the answer malformed).
        """
        if self._closed is not None:
            raise self._closed.copy()
        timeout = options.timeout
        if timeout is not None and timeout <= 0.0:
            raise UpstreamTimeout(f"no time is left for {method}")
        id = next(self._ids)
        if self._last_id == 0:
            self._first_id = id
        self._last_id = id
        if options.on_progress is not None:
            params = jsonrpc.with_meta(params, {"progressToken": id})
        if options.on_id is not None:
            options.on_id(id)
        future: asyncio.Future[bytes] = self._loop.create_future()
        seconds = NEVER if timeout is None else timeout
        pending = self._pending[id] = Pending(future, method, seconds, options.on_progress, options.caller)
        try:
            pending.began = self._loop.time()
            pending.deadline = pending.began + seconds
            self._wake_at(pending.deadline)
            (send or self._send)(Outgoing(jsonrpc.request(b"%d" % id, method, params), method, id, params))
            return await future
        except asyncio.CancelledError:
            self._abandon(id, method, "the request was cancelled")
            raise
        finally:
            self._pending.pop(id, None)
            if pending.questions:
                self._questions.reassign(id)

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification."""
        if self._closed is None:
            self._send(Outgoing(jsonrpc.notification(method, params), method, params=params))

    def receive(self, line: bytes) -> bool:
        """Handle one line from the other side; true if it has several messages, and ``receive_slowly`` has to take it."""
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            if isinstance(problem, MoreFollows) or is_batch(line):
                return True
            readable = _readable(line) if isinstance(problem, NotUtf8) else None
            is_useful = (
                self.receive_malformed(problem) if readable is None else self.receive_message(readable)
            )
        else:
            is_useful = self.receive_message(message)
        if not is_useful:
            self.count_junk(len(line))
        return False

    async def receive_slowly(self, line: Line) -> None:
        """Handle one line, which may be large, or have several messages; both take several turns of the loop."""
        # Here, because most proxies never get such a line.
        from dynamic_mcp.protocol import slow_lines

        await slow_lines.receive(line, self)

    def receive_message(self, message: Message, within: int | None = None) -> bool:
        """Handle one message from the other side; false for an answer that no request waits for.

        ``within`` is the own request that it belongs to, if the transport knows.
        """
        if type(message) is not Message:
            self.note_repairs(message)
        if message.method is None:
            return self.receive_answer(message)
        self._junk.reset()
        if message.id:
            if self._incoming.take(message, within, self._callers):
                self._liveness.sign_of_life()
        elif message.method == "notifications/progress":
            self._take_progress(message.params)
        elif message.method == "notifications/cancelled":
            self._take_cancellation(message.params)
        else:
            self._on_notification(message)
        return True

    def note_repairs(self, message: Message) -> None:
        """Report what was wrong with a message before its repair, if anything was."""
        if isinstance(message, Repaired):
            self._on_oddity(message.oddity)

    def count_junk(self, size: int, lines: int = 1) -> None:
        """Count lines that mean nothing, with their bytes, and report the other side if it sends nothing else."""
        self._junk.add(size, lines)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Handle a message that is too large to keep, once an edge shows its id. All such edges come from one stream."""
        self._oversized.take(edge, last)

    def take_oversized(self, id: bytes, is_answer: bool) -> None:
        """Fail the request of an answer that is too large to keep. Refuse a request that is. Drop a message without an id."""
        size = jsonrpc.format_size(self._max_size)
        if not id:
            log.debug("a message that is too large was dropped")
        elif not is_answer:
            self._incoming.refuse(id, jsonrpc.INVALID_REQUEST, f"the message is larger than {size}")
        elif (pending := self._claim(id)) is not None:
            pending.future.set_exception(TooLarge(f"its answer is larger than {size}"))

    def fail(self, id: int, reason: UpstreamError) -> None:
        """Fail one request whose answer will not come, as the transport knows."""
        pending = self._pending.pop(id, None)
        if pending is not None and not pending.future.done():
            self._liveness.sign_of_life()
            pending.future.set_exception(reason)

    def when_over(self, id: int, then: Callable[[], None]) -> None:
        """Call ``then`` once a request in flight has its answer, or has ended without one."""
        self._pending[id].future.add_done_callback(lambda _: then())

    async def settle(self, timeout: float) -> None:
        """Wait until the requests that wait now have their answers, ``timeout`` seconds at most."""
        if futures := [pending.future for pending in self._pending.values()]:
            await asyncio.wait(futures, timeout=timeout)

    def unanswered(self) -> None:
        """Note that the other side does not even take requests."""
        self._liveness.unanswered(self._loop.time())

    def has_used(self, id: bytes) -> bool:
        """Whether an own request had this id, so that an answer with it may be late."""
        number = whole_number(id)
        return number is not None and self._is_own(number)

    def _is_own(self, number: int) -> bool:
        return self._first_id <= number <= self._last_id

    def leave_session(self) -> None:
        """Cancel the open requests of the other side. A new session may use their ids again."""
        if self._closed is None:
            self._incoming.close()
            self._incoming = self._new_incoming()

    def close(self, reason: UpstreamFailed) -> None:
        """Fail all pending and all later requests."""
        if self._closed is None:
            self._closed = reason
            self._liveness.close()
            for pending in self._pending.values():
                if not pending.future.done():
                    pending.future.set_exception(reason.copy())
            self._incoming.close()
            if self._timer is not None:
                self._timer.cancel()

    def receive_answer(self, message: Message) -> bool:
        """Handle an answer; false if it answers no request."""
        pending = self._claim(bytes(message.id))
        if pending is None:
            log.debug("an answer without a waiting request was dropped")
            # Late answers to a client that has gone are no junk, which would cost the other clients the connection.
            return self._callers.answered(whole_number(bytes(message.id)))
        self._junk.reset()
        try:
            result = answers.result_of(message, pending.method, self._on_oddity)
        except UpstreamError as error:
            pending.future.set_exception(error)
        else:
            pending.future.set_result(result)
        return True

    def receive_malformed(self, problem: Malformed) -> bool:
        """Handle a line that is not a message; true when it ended the request that it seems to answer."""
        pending = self._claim(problem.id) if problem.is_answer else None
        if pending is None:
            self._malformed_at = self._loop.time()
            self._on_oddity(
                f"sends data that is no message of MCP, which the proxy ignores: {problem.reason}"
            )
            return False
        pending.future.set_exception(UpstreamFailed(f"the answer is malformed: {problem.reason}"))
        return True

    def _take_cancellation(self, params: Raw) -> None:
        id = cancelled_id(params)
        if not self._incoming.cancel(id) and (number := whole_number(id)) is not None:
            pending = self._pending.get(number)
            if pending is not None and pending.method in _CANCELLED_BY_RECEIVER:
                self.fail(number, UpstreamFailed("it cancelled the request"))

    def _take_progress(self, params: Raw) -> None:
        if progress.deliver(params, self._pending, self._loop.time(), self._on_oddity):
            self._liveness.sign_of_life()

    def _claim(self, id: bytes) -> Pending | None:
        """Take the request with this id out of the pending ones. The ids of own requests are integers, however they are spelled."""
        number = whole_number(id)
        if number is None:
            return None
        if self._is_own(number):
            # A late answer counts too.
            self._liveness.sign_of_life()
        pending = self._pending.pop(number, None)
        return None if pending is None or pending.future.done() else pending

    def _wake_at(self, time: float) -> None:
        if time >= self._wakes_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_at = self._loop.call_at(time, self._expire), time

    def _expire(self) -> None:
        """Fail the requests that are past their deadline, and set the timer for the next one."""
        self._timer, self._wakes_at = None, NEVER
        now = self._loop.time()
        for id, pending in list(self._pending.items()):
            if pending.deadline <= now and not pending.future.done():
                self._abandon(id, pending.method, "the request timed out")
                why = pending.why_late(now)
                if self._malformed_at >= pending.began:
                    why += _PERHAPS_NO_MESSAGE
                pending.future.set_exception(UpstreamTimeout(why))
        self._wake_at(min((pending.deadline for pending in self._pending.values()), default=NEVER))

    def _abandon(self, id: int, method: str, reason: str) -> None:
        pending = self._pending.pop(id, None)
        if pending is None:
            return
        self._callers.abandoned(id, pending)
        now = self._loop.time()
        if method not in _NEED_NO_ANSWER and (pending.deadline <= now or now - pending.began >= LONG_WAIT):
            self._liveness.unanswered(pending.began)
        handled = self._on_cancelled is not None and self._on_cancelled(id)
        if not handled and method not in _NEVER_CANCELLED:
            self.notify("notifications/cancelled", msgspec.json.encode({"requestId": id, "reason": reason}))


def _readable(line: bytes) -> Message | None:
    # Here, because most proxies never get such a line.
    from dynamic_mcp.protocol import replacements

    return replacements.message_of(line)
