"""One JSON-RPC connection to an upstream: requests out, answers matched by id. No input or output of its own.

Guarantee: an answer reaches the request with its id, or nobody. Late, duplicate, unknown and unreadable answers are dropped; a
malformed answer whose id is readable fails that request at once. A request that times out or is cancelled is announced to the
upstream with ``notifications/cancelled`` and the upstream's own id (MCP 2025-11-25, basic/utilities/cancellation),
except ``initialize``, which must not be cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import Malformed, Message

_NEVER_CANCELLED = frozenset({"initialize", "server/discover"})


class Peer:
    """Correlates requests and answers. ``send`` writes one line; ``on_notification`` gets what the upstream announces."""

    __slots__ = ("_closed", "_loop", "_next_id", "_on_notification", "_pending", "_send")

    def __init__(self, send: Callable[[bytes], None], on_notification: Callable[[Message], None]) -> None:
        self._send = send
        self._on_notification = on_notification
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 0
        self._closed: UpstreamFailed | None = None

    async def request(self, method: str, params: bytes, timeout: float) -> bytes:
        """Send a request and return the bytes of its result.

        ``timeout`` is in seconds. Raises UpstreamTimeout, UpstreamRefused (a JSON-RPC error) or UpstreamFailed (the connection is
        gone, or the answer was malformed).
        """
        if self._closed is not None:
            raise self._closed.again()
        self._next_id += 1
        id = self._next_id
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._pending[id] = future
        timer = self._loop.call_later(timeout, self._expire, id, method, timeout)
        try:
            self._send(jsonrpc.request(b"%d" % id, method, params))
            return await future
        except asyncio.CancelledError:
            self._abandon(id, method, "the client cancelled the request")
            raise
        finally:
            timer.cancel()
            self._pending.pop(id, None)

    def notify(self, method: str, params: bytes = b"") -> None:
        """Send a notification."""
        if self._closed is None:
            self._send(jsonrpc.notification(method, params))

    def receive(self, line: bytes) -> None:
        """Take one line from the upstream."""
        try:
            message = jsonrpc.parse(line)
        except Malformed as problem:
            self._on_malformed(problem)
            return
        if message.method is None:
            self._on_answer(message)
        elif message.id:
            self._on_request(message)
        else:
            self._on_notification(message)

    def receive_oversized(self, edge: bytes, last: bool) -> None:
        """Take note of a message that was too large to keep: its request fails, as soon as its id is seen."""
        id = jsonrpc.id_at(edge, last)
        future = self._claim(id) if id is not None else None
        if future is not None:
            future.set_exception(
                UpstreamFailed(f"its answer is larger than {jsonrpc.MOST_MESSAGE >> 20} MiB")
            )
        elif last:
            log.debug("a message larger than %d MiB was dropped", jsonrpc.MOST_MESSAGE >> 20)

    def close(self, reason: UpstreamFailed) -> None:
        """Fail everything that is pending, and everything that is asked from now on."""
        if self._closed is None:
            self._closed = reason
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(reason.again())

    def _on_answer(self, message: Message) -> None:
        future = self._claim(bytes(message.id))
        if future is None:
            log.debug("an answer without a waiting request was dropped")
        elif message.error and bytes(message.error) != jsonrpc.NULL:
            future.set_exception(UpstreamRefused(bytes(message.error)))
        else:
            future.set_result(bytes(message.result))

    def _on_malformed(self, problem: Malformed) -> None:
        future = self._claim(problem.id) if problem.answer else None
        if future is not None:
            future.set_exception(UpstreamFailed(f"the answer is malformed: {problem.what}"))
        else:
            log.debug("a line that is no message was dropped: %s", problem.what)

    def _on_request(self, message: Message) -> None:
        if message.method == "ping":
            self._send(jsonrpc.result(bytes(message.id), b"{}"))
        else:
            refusal = jsonrpc.error_object(jsonrpc.METHOD_NOT_FOUND, "this client offers no such capability")
            self._send(jsonrpc.error(bytes(message.id), refusal))

    def _claim(self, id: bytes) -> asyncio.Future[bytes] | None:
        """The pending request with this id, once: whoever claims it answers it. Ids of ours are plain integers."""
        if not id.isdigit():
            return None
        future = self._pending.pop(int(id[:20]), None)
        return None if future is None or future.done() else future

    def _expire(self, id: int, method: str, timeout: float) -> None:
        future = self._pending.get(id)
        if future is not None and not future.done():
            self._abandon(id, method, "the request timed out")
            future.set_exception(UpstreamTimeout(f"no answer to {method} within {timeout:g} s"))

    def _abandon(self, id: int, method: str, reason: str) -> None:
        if self._pending.pop(id, None) is not None and method not in _NEVER_CANCELLED:
            self.notify("notifications/cancelled", msgspec.json.encode({"requestId": id, "reason": reason}))
