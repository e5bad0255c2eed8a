"""What the client answers to the requests of the program: `ping` and `roots/list` always, others inside `answering`.

`running` answers in a task of its own until its block ends. A program that has gone, or does not read, ends the task without an error,
because the requests of the check itself report that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

from conformance.errors import Violation
from conformance.workbench.polling import INTERVAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from conformance.workbench.transcript import Json, Transcript

METHOD_NOT_FOUND = -32601
#: what every client can answer; these clients work in no folder
ALWAYS: Mapping[str, Json] = {"ping": {}, "roots/list": {"roots": []}}


class Sender(Protocol):
    """The client, as far as its answers need it."""

    @property
    def transcript(self) -> Transcript:
        """Every line of both sides."""
        ...

    @property
    def received(self) -> list[Json]:
        """The messages of the program that answer no request of the client."""
        ...

    async def send(self, message: Json, within: float = 5.0) -> None:
        """Send a message."""
        ...


class ClientAnswers:
    """The results for the requests of one program, by method."""

    def __init__(self) -> None:
        self._results = dict(ALWAYS)
        self._refuses_others = False
        self._is_running = False

    def stay_silent(self) -> None:
        """Answer no request, as a client that hangs."""
        self._results = {}

    @contextmanager
    def with_results(self, results: Mapping[str, Json]) -> Iterator[None]:
        """Inside the block, answer these methods too, and refuse all others with "Method not found"."""
        before = self._results, self._refuses_others
        self._results, self._refuses_others = {**self._results, **results}, True
        try:
            yield
        finally:
            self._results, self._refuses_others = before

    @asynccontextmanager
    async def running(self, client: Sender) -> AsyncIterator[None]:
        """Inside the block, the client answers. A block within another one changes nothing."""
        if self._is_running:
            yield
            return
        self._is_running = True
        task = asyncio.create_task(self._answer_requests(client))
        try:
            yield
        finally:
            self._is_running = False
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Violation):
                await task

    async def _answer_requests(self, client: Sender) -> None:
        seen = 0
        waiting: list[Json] = []
        while True:
            new = client.received[seen:]
            seen += len(new)
            waiting += [message for message in new if {"id", "method"} <= message.keys()]
            for message in list(waiting):
                answer = self._answer_to(message)
                if answer is not None and client.transcript.has_sent(message):
                    waiting.remove(
                        message
                    )  # an answer would make an echo of the client's request look like a reply
                elif answer is not None:
                    waiting.remove(message)
                    await client.send({"id": message["id"], **answer})
            await asyncio.sleep(INTERVAL)

    def _answer_to(self, request: Json) -> Json | None:
        """The answer, or None as long as the client does not answer this method."""
        method = request["method"]
        result = self._results.get(method) if isinstance(method, str) else None
        if result is None:
            refusal = {"error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}}
            return refusal if self._refuses_others else None
        params = request.get("params")
        asked = params.get("message") if isinstance(params, dict) else None
        return {"result": json.loads(json.dumps(result).replace('"$message"', json.dumps(asked)))}
