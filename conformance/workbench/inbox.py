"""What the implementation writes to stdout, cut into lines, and its answers, handed to whoever waits for them.

An answer belongs to the request whose id has its value and its type: 1 and "1" are different ids, and so are 1 and
true. Everything else is kept in the order in which it came.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from conformance.workbench.launched import StdoutListener
from conformance.workbench.timeline import shorten
from conformance.workbench.transcript import Json, Transcript

if TYPE_CHECKING:
    from conformance.workbench.timeline import Timeline

RequestId = str | int

#: unasked-for lines after which stdout is no longer looked at: parsing a flood would starve the other checks
MAX_UNASKED = 20_000


@dataclass(frozen=True)
class Answer:
    """The answer to one request; `t` is when it arrived, in monotonic seconds, `raw` the line as it came."""

    message: Json
    raw: str
    t: float

    @property
    def result(self) -> Any:
        return self.message.get("result")

    @property
    def error(self) -> Any:
        return self.message.get("error")

    @property
    def is_error(self) -> bool:
        """Whether this is a JSON-RPC error or a tool result that says `isError`."""
        return "error" in self.message or bool(isinstance(self.result, dict) and self.result.get("isError"))

    @property
    def text(self) -> str:
        """The text of a tool result, or the message of an error."""
        if "error" in self.message:
            return str(self.error.get("message", "")) if isinstance(self.error, dict) else str(self.error)
        content = self.result.get("content") if isinstance(self.result, dict) else None
        parts = content if isinstance(content, list) else []
        return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


#: the outcome of a tool call; an error of the protocol and one of the tool both say `is_error`
CallResult = Answer


class Inbox(StdoutListener):
    """Cuts stdout into lines and hands answers to whoever waits for them."""

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
        waiting = self._waiting[type(request_id), request_id] = anyio.Event(), []
        return waiting

    def forget(self, request_id: RequestId) -> None:
        """Stop waiting; answers beyond the first are nobody's."""
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
            self._take(line.decode(errors="replace"))

    @property
    def flooded(self) -> bool:
        """Whether so much came unasked for that the rest is ignored."""
        return len(self.received) + len(self.junk) >= MAX_UNASKED

    def on_stdout_end(self) -> None:
        self.ended.set()
        for arrived, _ in self._waiting.values():
            arrived.set()

    def _take(self, line: str) -> None:
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
