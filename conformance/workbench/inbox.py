"""Cuts the stdout of a program into lines and hands each answer to the request that waits for it.

An answer belongs to the request whose id has the same value and type. 1 and "1" are different ids, and so are 1 and true. The inbox keeps
every other message in order of arrival.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from conformance.workbench.launched import StdoutListener
from conformance.workbench.timeline import shorten
from conformance.workbench.transcript import Json, Transcript, part
from mock_servers import receipts

if TYPE_CHECKING:
    from conformance.workbench.timeline import Timeline

RequestId = str | int

#: unrequested lines after which the inbox ignores stdout, because parsing a flood would starve the other checks
MAX_UNASKED = 20_000

_RECEIPT = re.compile(rf"\n?{receipts.PATTERN}")


@dataclass(frozen=True)
class Answer:
    """The answer to one request; `t` is its arrival in monotonic seconds, `raw` its line."""

    message: Json = field(repr=False)
    raw: str
    t: float = field(repr=False)

    @property
    def result(self) -> Any:
        return self.message.get("result")

    @property
    def error(self) -> Any:
        return self.message.get("error")

    def member(self, *path: str | int) -> Any:
        """The part of the result at this path; None if anything on the way is missing (see `part`)."""
        return part(self.result, *path)

    @property
    def code(self) -> Any:
        """The code of the error; None without one."""
        return part(self.error, "code")

    @property
    def is_error(self) -> bool:
        """Whether this is a JSON-RPC error or a tool result with `isError`."""
        return "error" in self.message or bool(isinstance(self.result, dict) and self.result.get("isError"))

    @property
    def text(self) -> str:
        """The text of a tool result without the receipt of a mock, or the message of an error."""
        if "error" in self.message:
            return str(self.error.get("message", "")) if isinstance(self.error, dict) else str(self.error)
        content = self.result.get("content") if isinstance(self.result, dict) else None
        parts = content if isinstance(content, list) else []
        text = "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)
        return _RECEIPT.sub("", text)


#: the answer to a tool call; `is_error` holds for an error of the protocol and for one of the tool
CallResult = Answer


class Inbox(StdoutListener):
    """The lines of one program so far, and the requests that wait for an answer."""

    def __init__(self, timeline: Timeline, actor: str) -> None:
        self.received: list[Json] = []
        self.junk: list[str] = []
        self.ended = anyio.Event()
        self.transcript = Transcript()
        self._timeline = timeline
        self._actor = actor
        self._partial = bytearray()
        self._waiting: dict[tuple[type, RequestId], tuple[anyio.Event, list[Answer]]] = {}

    def expect(self, request_id: RequestId) -> tuple[anyio.Event, list[Answer]]:
        """Wait for answers with this id: the event tells that one arrived, the list holds them."""
        waiting = self._waiting[type(request_id), request_id] = anyio.Event(), []
        return waiting

    def forget(self, request_id: RequestId) -> None:
        """Stop waiting; answers beyond the first go to `received`."""
        _, answers = self._waiting.pop((type(request_id), request_id))
        self.received.extend(answer.message for answer in answers[1:])

    def on_stdout(self, data: bytes) -> None:
        if self.flooded:
            return
        searched = len(self._partial)
        self._partial += data
        while (end := self._partial.find(b"\n", searched)) >= 0:
            line = bytes(self._partial[:end])
            del self._partial[: end + 1]
            searched = 0
            self.take(line.decode(errors="replace"))

    @property
    def flooded(self) -> bool:
        """Whether so many unrequested lines arrived that the inbox ignores the rest."""
        return len(self.received) + len(self.junk) >= MAX_UNASKED

    def on_stdout_end(self) -> None:
        self.ended.set()
        for arrived, _ in self._waiting.values():
            arrived.set()

    def fail(self, request_id: object) -> None:
        """Wake the request with this id: no answer to it can come any more."""
        arrived, _ = self._waiting.get((type(request_id), request_id), (None, None))  # type: ignore[arg-type]
        if arrived is not None:
            arrived.set()

    def take(self, line: str) -> None:
        """Take one message of the program."""
        if self.flooded:
            return
        self._timeline.record(self._actor, "out", line)
        self.transcript.received(line)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.junk.append(shorten(line))
            return
        answer = Answer(message, line, time.monotonic())
        identity = message.get("id")
        waiting = None
        if isinstance(identity, str | int):
            waiting = self._waiting.get((type(identity), identity))
        if waiting is not None and ("result" in message or "error" in message):
            waiting[1].append(answer)
            waiting[0].set()
        else:
            self.received.append(message)
