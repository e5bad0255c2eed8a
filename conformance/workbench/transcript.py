"""Both sides of the conversation with a proxy, line by line, in the order in which the runner sent or received them.

Limit: a line counts as sent when the runner gives it to the pipe, so an answer never comes before its request.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class TranscriptLine:
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
        self.lines: list[TranscriptLine] = []
        self._unfinished = b""

    def sent(self, data: bytes) -> None:
        """Bytes of the client; a line may come in pieces."""
        *ended, self._unfinished = (self._unfinished + data).split(b"\n")
        self.lines += [
            TranscriptLine(time.monotonic(), True, line.decode(errors="replace")) for line in ended
        ]

    def received(self, line: str) -> None:
        self.lines.append(TranscriptLine(time.monotonic(), False, line))

    def heard(self, method: str | None = None) -> list[Heard]:
        """The implementation's messages with this method, or all."""
        messages = [
            Heard(line.t, message) for line in self.lines if not line.sent for message in line.messages
        ]
        return [heard for heard in messages if method is None or heard.message.get("method") == method]

    def asked(self, method: str | None = None) -> list[Heard]:
        """The requests among them."""
        return [heard for heard in self.heard(method) if {"id", "method"} <= heard.message.keys()]
