"""Both sides of the conversation with an implementation, and the client's part when the implementation asks.

A `Transcript` has every line in the order in which it was sent or arrived. `answering` lets the client answer the
requests of a server (elicitation, sampling, roots) as a script of results by method; what was asked is in the
transcript. Limits: a line is taken as sent when it is given to the pipe, so an answer never comes before its request.
"""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from conformance.workbench.polling import INTERVAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from conformance.workbench.client import Proxy
    from conformance.workbench.inbox import Json

METHOD_NOT_FOUND = -32601


@dataclass(frozen=True)
class Line:
    """One line; `t` in monotonic seconds, `sent` when it is the client's."""

    t: float
    sent: bool
    text: str

    @property
    def messages(self) -> list[Json]:
        """The message, or those of a batch; empty when the line holds none."""
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError):
            return []
        return [
            message
            for message in (value if isinstance(value, list) else [value])
            if isinstance(message, dict)
        ]


@dataclass(frozen=True)
class Heard:
    """A message of the implementation and when it arrived."""

    t: float = field(repr=False)
    message: Json

    @property
    def params(self) -> Any:
        return self.message.get("params")


class Transcript:
    """All lines of one conversation."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._unfinished = b""

    def sent(self, data: bytes) -> None:
        """Bytes of the client; a line may come in pieces."""
        *ended, self._unfinished = (self._unfinished + data).split(b"\n")
        self.lines += [Line(time.monotonic(), True, line.decode(errors="replace")) for line in ended]

    def received(self, line: str) -> None:
        self.lines.append(Line(time.monotonic(), False, line))

    def heard(self, method: str | None = None) -> list[Heard]:
        """The implementation's messages with this method, or all."""
        messages = [
            Heard(line.t, message) for line in self.lines if not line.sent for message in line.messages
        ]
        return [heard for heard in messages if method is None or heard.message.get("method") == method]

    def asked(self, method: str | None = None) -> list[Heard]:
        """The requests among them."""
        return [heard for heard in self.heard(method) if {"id", "method"} <= heard.message.keys()]


@asynccontextmanager
async def answering(proxy: Proxy, results: Mapping[str, Json]) -> AsyncIterator[None]:
    """Inside, the client answers every request with the result for its method, or that it does not know the method.

    Requests from before count too. The string "$message" in a result stands for the `message` of the request.
    """
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_answer_requests, proxy, {"ping": {}, **results})
            yield
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


async def _answer_requests(proxy: Proxy, results: Mapping[str, Json]) -> None:
    seen = 0
    while True:
        for message in proxy.received[seen:]:
            seen += 1
            if {"id", "method"} <= message.keys():
                await proxy.send({"id": message["id"], **_answer_to(message, results)})
        await anyio.sleep(INTERVAL)


def _answer_to(request: Json, results: Mapping[str, Json]) -> Json:
    result = results.get(request["method"])
    if result is None:
        return {"error": {"code": METHOD_NOT_FOUND, "message": "Method not found"}}
    params = request.get("params")
    asked = params.get("message") if isinstance(params, dict) else None
    return {"result": json.loads(json.dumps(result).replace('"$message"', json.dumps(asked)))}
