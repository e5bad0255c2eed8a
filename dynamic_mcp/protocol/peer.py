"""One JSON-RPC connection: requests out, answers matched by id; requests and notifications in. No input or output of its own.

Guarantee: an answer reaches the request with its id, or nobody. Late, duplicate, unknown and unreadable answers are dropped; a
malformed answer whose id is readable fails that request at once. A request that times out or is cancelled is announced to the
other side with ``notifications/cancelled`` and the id that it knows (MCP 2025-11-25, basic/utilities/cancellation),
except ``initialize``, which must not be cancelled. Progress reaches the request with its token, before the answer and
only while it grows.

While the other side waits for an answer of ours, no request of ours times out: it may be a person who is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import TooLarge, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE, Malformed, Message, Outgoing, Refusal

_NEVER_CANCELLED = frozenset({"initialize", "server/discover"})
#: The deadline of what waits for ever.
_NEVER = float("inf")

OnProgress = Callable[[dict[str, Raw]], None]


class _Pending(msgspec.Struct):
    """A request that waits for its answer."""

    future: asyncio.Future[bytes]
    method: str
    timeout: float
    on_progress: OnProgress | None
    #: loop time at which the request times out
    deadline: float = _NEVER
    #: the progress that was passed on last
    reached: float = float("-inf")


class Peer:
    """Correlates requests and answers. ``send`` writes one line; the others get what the other side begins by itself."""

    def __init__(
        self,
        send: Callable[[Outgoing], None],
        on_notification: Callable[[Message], None],
        on_request: Callable[[Message], Awaitable[bytes]] | None = None,
        on_cancelled: Callable[[int], bool] | None = None,
        *,
        max_size: int = MAX_MESSAGE,
    ) -> None:
        """``on_cancelled`` hears of a request that nobody waits for any more; where it returns true no notification is sent.

        ``max_size`` is the bound in bytes that ``receive_oversized`` tells of.
        """
        self._send = send
        self._on_notification = on_notification
        self._on_request = on_request
        self._on_cancelled = on_cancelled
        self._max_size = max_size
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, _Pending] = {}
        #: one timer for all of them, for the earliest deadline or an earlier one: a timer for each was 5 % of the time of a call
        self._alarm: asyncio.TimerHandle | None = None
        #: requests of the other side that are being answered, by the bytes of their id
        self._asked: dict[bytes, asyncio.Task[None]] = {}
        self._next_id = 0
        self._closed: UpstreamFailed | None = None

    async def request(
        self,
        method: str,
        params: bytes,
        timeout: float | None,
        on_progress: OnProgress | None = None,
        on_id: Callable[[int], None] | None = None,
    ) -> bytes:
        """Send a request and return the bytes of its result.

        ``timeout`` is in seconds, None waits for ever. With ``on_progress`` the request carries a progress token; ``on_id`` hears of its
        id. Raises UpstreamTimeout, UpstreamRefused (a JSON-RPC error) or UpstreamFailed (the connection is gone, or the answer malformed).
        """
        if self._closed is not None:
            raise self._closed.copy()
        self._next_id += 1
        id = self._next_id
        if on_progress is not None:
            params = _with_token(params, id)
        if on_id is not None:
            on_id(id)
        future: asyncio.Future[bytes] = self._loop.create_future()
        pending = self._pending[id] = _Pending(
            future, method, _NEVER if timeout is None else timeout, on_progress
        )
        self._set_deadline(pending)
        try:
            self._send(Outgoing(jsonrpc.request(b"%d" % id, method, params), method, id, params))
            return await future
        except asyncio.CancelledError:
            self._abandon(id, method, "the client cancelled the request")
            raise
        finally:
            self._pending.pop(id, None)

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification."""
        if self._closed is None:
            self._send(Outgoing(jsonrpc.notification(method, params), method, params=params))

    def receive(self, line: bytes) -> None:
        """Take one line from the other side."""
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            self.malformed(problem)
        else:
            self.received(message)

    def received(self, message: Message) -> None:
        """Take one message of the other side."""
        if message.method is None:
            self.answered(message)
        elif message.id:
            self._asks(message)
        elif message.method == "notifications/progress":
            self._progresses(message.params)
        elif message.method == "notifications/cancelled" and self._asked:
            self._asks_no_more(message.params)
        else:
            self._on_notification(message)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Take note of a message that was too large to keep: its request fails, as soon as its id is seen."""
        id = jsonrpc.id_at(edge, last)
        future = self._claim(id) if id is not None else None
        if future is not None:
            future.set_exception(TooLarge(f"its answer is larger than {jsonrpc.readable(self._max_size)}"))
        elif last:
            log.debug("a message larger than %s was dropped", jsonrpc.readable(self._max_size))

    def fail(self, id: int, reason: UpstreamFailed) -> None:
        """End one request, where the transport knows that its answer will not come."""
        pending = self._pending.pop(id, None)
        if pending is not None and not pending.future.done():
            pending.future.set_exception(reason)

    def close(self, reason: UpstreamFailed) -> None:
        """Fail everything that is pending, and everything that is asked from now on."""
        if self._closed is None:
            self._closed = reason
            for pending in self._pending.values():
                if not pending.future.done():
                    pending.future.set_exception(reason.copy())
            for task in self._asked.values():
                task.cancel()
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

    def answered(self, message: Message) -> None:
        """Take an answer."""
        future = self._claim(bytes(message.id))
        if future is None:
            log.debug("an answer without a waiting request was dropped")
        elif message.error and bytes(message.error) != jsonrpc.NULL:
            future.set_exception(UpstreamRefused(bytes(message.error)))
        else:
            future.set_result(bytes(message.result))

    def malformed(self, problem: Malformed) -> None:
        """Take note of a line that is no message."""
        future = self._claim(problem.id) if problem.answer else None
        if future is not None:
            future.set_exception(UpstreamFailed(f"the answer is malformed: {problem.what}"))
        else:
            log.debug("a line that is no message was dropped: %s", problem.what)

    def _asks(self, message: Message) -> None:
        id = bytes(message.id)
        if message.method == "ping":
            self._answer(jsonrpc.result(id, b"{}"))
        elif self._on_request is None:
            refusal = jsonrpc.error_object(jsonrpc.METHOD_NOT_FOUND, f"nothing here answers {message.method}")
            self._answer(jsonrpc.error(id, refusal))
        elif id in self._asked:
            text = "a request with this id is still being answered"
            self._answer(jsonrpc.error(id, jsonrpc.error_object(jsonrpc.INVALID_REQUEST, text)))
        else:
            self._asked[id] = task = self._loop.create_task(self._serve(id, message, self._on_request))
            task.add_done_callback(lambda done: self._answered(id, done))

    def _answered(self, id: bytes, task: asyncio.Task[None]) -> None:
        if self._asked.get(id) is task:
            # It was cancelled before it began.
            del self._asked[id]

    def _answer(self, line: bytes) -> None:
        self._send(Outgoing(line))

    async def _serve(
        self, id: bytes, message: Message, answer: Callable[[Message], Awaitable[bytes]]
    ) -> None:
        try:
            line = jsonrpc.result(id, await answer(message))
        except Refusal as refusal:
            line = jsonrpc.error(id, refusal.error)
        finally:
            self._asked.pop(id, None)
        if self._closed is None:
            self._answer(line)

    def _asks_no_more(self, params: Raw) -> None:
        try:
            id = msgspec.json.decode(params, type=dict[str, Raw])["requestId"]
        except (msgspec.DecodeError, KeyError):
            return
        if (task := self._asked.get(bytes(id))) is not None:
            task.cancel()

    def _progresses(self, params: Raw) -> None:
        try:
            members = msgspec.json.decode(params, type=dict[str, Raw])
            token = msgspec.json.decode(members["progressToken"], type=int)
            reached = msgspec.json.decode(members["progress"], type=float)
        except (msgspec.DecodeError, KeyError):
            return
        pending = self._pending.get(token)
        if pending is not None and pending.on_progress is not None and reached > pending.reached:
            pending.reached = reached
            pending.on_progress(members)

    def _claim(self, id: bytes) -> asyncio.Future[bytes] | None:
        """The pending request with this id, once: whoever claims it answers it. Ids of ours are plain integers."""
        if not id.isdigit():
            return None
        pending = self._pending.pop(int(id[:20]), None)
        return None if pending is None or pending.future.done() else pending.future

    def _set_deadline(self, pending: _Pending) -> None:
        pending.deadline = self._loop.time() + pending.timeout
        self._ring_at(pending.deadline)

    def _ring_at(self, time: float) -> None:
        if time == _NEVER or (self._alarm is not None and self._alarm.when() <= time):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(time, self._expire)

    def _expire(self) -> None:
        """End what is due, and wait for what is due next."""
        self._alarm = None
        now = self._loop.time()
        for id, pending in list(self._pending.items()):
            if pending.deadline <= now and not pending.future.done():
                if self._asked:
                    self._set_deadline(pending)
                else:
                    self._abandon(id, pending.method, "the request timed out")
                    text = f"no answer to {pending.method} within {pending.timeout:g} s"
                    pending.future.set_exception(UpstreamTimeout(text))
        self._ring_at(min((one.deadline for one in self._pending.values()), default=_NEVER))

    def _abandon(self, id: int, method: str, reason: str) -> None:
        if self._pending.pop(id, None) is None:
            return
        ended = self._on_cancelled is not None and self._on_cancelled(id)
        if not ended and method not in _NEVER_CANCELLED:
            self.notify("notifications/cancelled", msgspec.json.encode({"requestId": id, "reason": reason}))


def _with_token(params: bytes, token: int) -> bytes:
    members = msgspec.json.decode(params or b"{}", type=dict[str, Raw])
    meta = msgspec.json.decode(members.get("_meta", Raw(b"{}")), type=dict[str, Raw])
    meta["progressToken"] = Raw(b"%d" % token)
    members["_meta"] = Raw(msgspec.json.encode(meta))
    return msgspec.json.encode(members)
