"""Both sides of the conversation with a proxy, line by line, in the order in which the runner sent or received them.

Limit: a line counts as sent when the runner gives it to the pipe, so an answer never comes before its request.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]


def part(value: Any, *path: str | int) -> Any:
    """The part of a JSON value at this path of member names and indexes; None if anything on the way is missing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


@dataclass(frozen=True)
class TranscriptLine:
    """One line; `t` in monotonic seconds, `sent` if the client wrote it."""

    t: float
    sent: bool
    text: str

    @property
    def messages(self) -> list[Json]:
        """The message, or the messages of a batch; empty if the line holds none."""
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
    """A message of the proxy and its time of arrival."""

    t: float = field(repr=False)
    message: Json

    @property
    def params(self) -> Any:
        return self.message.get("params")

    def param(self, *path: str | int) -> Any:
        """The part of the params at this path (see `part`)."""
        return part(self.params, *path)


def increase(reports: Sequence[Heard]) -> bool:
    """Whether the progress of each report is a number greater than the one before it."""
    values = [report.param("progress") for report in reports]
    return all(isinstance(value, int | float) for value in values) and values == sorted(set(values))


class Transcript:
    """All lines of one conversation."""

    def __init__(self) -> None:
        self.lines: list[TranscriptLine] = []
        self._unfinished = b""

    def sent(self, data: bytes) -> None:
        """Add bytes that the client sent; a line may come in pieces."""
        *ended, self._unfinished = (self._unfinished + data).split(b"\n")
        self.lines += [
            # A check may write a byte order mark before a message.
            TranscriptLine(time.monotonic(), True, line.decode(errors="replace").removeprefix("\ufeff"))
            for line in ended
        ]

    def sent_all(self) -> None:
        """The client sends nothing more: a last line without an end is a line too."""
        if self._unfinished:
            self.sent(b"\n")

    def has_sent(self, message: Json) -> bool:
        """Whether the client sent exactly this request, so that a program that returns it repeats its input."""
        method = message.get("method")
        likely = (
            line for line in self.lines if line.sent and isinstance(method, str) and method in line.text
        )
        return any(message in line.messages for line in likely)

    def received(self, line: str) -> None:
        """Add a line of the proxy."""
        self.lines.append(TranscriptLine(time.monotonic(), False, line))

    def heard(self, method: str | None = None) -> list[Heard]:
        """The messages of the proxy, or those with this method."""
        messages = [
            Heard(line.t, message) for line in self.lines if not line.sent for message in line.messages
        ]
        return [heard for heard in messages if method is None or heard.message.get("method") == method]

    def asked(self, method: str | None = None) -> list[Heard]:
        """The requests of the proxy, or those with this method."""
        return [heard for heard in self.heard(method) if {"id", "method"} <= heard.message.keys()]
