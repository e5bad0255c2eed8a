"""The requests of the other side that one connection works on: few at once, and the others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dynamic_mcp.log import report_bug
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.callers import Callers
from dynamic_mcp.protocol.ids import id_key
from dynamic_mcp.protocol.jsonrpc import Message, Refusal
from dynamic_mcp.protocol.pending import ASKS_THE_USER, ClientCall, OnRequest, QuestionClocks
from dynamic_mcp.wording import cut

#: Requests at once, and their bytes. A single larger one is allowed.
MAX_INCOMING = 64
MAX_INCOMING_BYTES = 16 << 20


class IncomingRequests:
    """Answers the requests of the other side of one connection."""

    def __init__(
        self, send: Callable[[bytes], None], on_request: OnRequest | None, questions: QuestionClocks
    ) -> None:
        """``send`` takes the lines of the answers. ``on_request`` gives the results; without it, only ``ping`` has one."""
        self._send = send
        self._on_request = on_request
        self._questions = questions
        self._loop = asyncio.get_running_loop()
        #: the tasks, by the key of the id
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._bytes = 0
        self._is_closed = False

    def take(self, message: Message, within: int | None, callers: Callers) -> bool:
        """Answer a request, now or later; false if it has its answer now. ``within`` is the own request that it belongs to, if known."""
        id = bytes(message.id)
        if message.method == "ping":
            self._send(jsonrpc.result(id, b"{}"))
        elif self._on_request is None:
            text = f"the method {cut(message.method or '')} is not supported"
            self.refuse(id, jsonrpc.METHOD_NOT_FOUND, text)
        elif (key := id_key(id)) in self._tasks:
            self.refuse(id, jsonrpc.INVALID_REQUEST, "a request with this id is still being answered")
        elif len(self._tasks) >= MAX_INCOMING or self._bytes > MAX_INCOMING_BYTES:
            text = f"too many requests at once: {len(self._tasks)} of this server are still being answered"
            self.refuse(id, jsonrpc.INTERNAL_ERROR, text)
        else:
            size = len(id) + len(bytes(message.params))
            self._bytes += size
            if message.method in ASKS_THE_USER:
                self._questions.begin(key, within)
            work = self._answer(id, message, self._on_request, callers.of(within))
            self._tasks[key] = task = self._loop.create_task(work)
            task.add_done_callback(lambda done: self._forget(id, size, done))
            return True
        return False

    def refuse(self, id: bytes, code: int, text: str) -> None:
        """Answer a request with an error."""
        self._send(jsonrpc.error(id, jsonrpc.error_object(code, text)))

    def cancel(self, id: bytes) -> bool:
        """Cancel the request with this id, if it is still being answered; whether it was."""
        task = self._tasks.get(id_key(id))
        return task is not None and task.cancel()

    def close(self) -> None:
        """Cancel every request, and send no further answer."""
        self._is_closed = True
        while self._tasks:
            key, task = self._tasks.popitem()
            task.cancel()
            # Now, because a new session may use the id again before the task ends.
            self._questions.end(key)

    async def _answer(
        self, id: bytes, message: Message, answer: OnRequest, callers: Sequence[ClientCall]
    ) -> None:
        try:
            line = jsonrpc.result(id, await answer(message, callers))
        except Refusal as refusal:
            line = jsonrpc.error(id, refusal.error)
        except Exception as error:
            reason = report_bug("a request of a server", error)
            line = jsonrpc.error(id, jsonrpc.error_object(jsonrpc.INTERNAL_ERROR, reason))
        finally:
            if self._tasks.pop(key := id_key(id), None) is not None:
                self._questions.end(key)
        if not self._is_closed:
            self._send(line)

    def _forget(self, id: bytes, size: int, task: asyncio.Task[None]) -> None:
        self._bytes -= size
        if self._tasks.get(key := id_key(id)) is task:
            # The task was cancelled before it began.
            del self._tasks[key]
            self._questions.end(key)
