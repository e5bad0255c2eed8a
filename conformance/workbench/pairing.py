"""Judges that each answer of the proxy belongs to one request, and that no request has a second answer.

Each message of the client with an `id`, except an answer to the proxy, may have one answer. An id has a value and a type: 1 and "1" are
different. An error without an id, or with the id null, answers a line whose id the proxy cannot know. Such a line is broken JSON, not
UTF-8, an empty batch, a message without a usable id, or a batch that the version refuses. Or it is longer than `LONG_LINE`. There is at
most one error for each of them.

Limits: this module judges neither a missing answer nor data without a message. Numbers beyond 2^53 are equal if they are equal as doubles,
because JSON leaves their precision open.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.errors import Violation
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from conformance.workbench.transcript import Json, Transcript

#: characters of a line from which the proxy may refuse it unread
LONG_LINE = 1 << 20
#: stands for bytes that are not UTF-8
NOT_UTF8 = "\N{REPLACEMENT CHARACTER}"
_ANSWER = {"result", "error"}
_EXACT = 2**53
_EXPECTED = "one answer to each request, and no answer to anything else"


def judge(transcript: Transcript) -> None:
    """Raise `Violation` for the first answer that belongs to no request, or to one that already has an answer."""
    ledger = _Ledger()
    for line in transcript.lines:
        if line.sent:
            ledger.sent(line.text)
        else:
            for message in line.messages:
                if "method" not in message and _ANSWER & message.keys():
                    ledger.answered(message, line.text)


class _Ledger:
    """The requests so far, and the first answer to each."""

    def __init__(self) -> None:
        #: the methods of the requests that wait for an answer, by id
        self._open: dict[Any, list[str]] = {}
        #: the method and the answer of the last answered request, by id
        self._closed: dict[Any, tuple[str, str]] = {}
        self._lines_without_id = 0

    def sent(self, text: str) -> None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        messages = value if isinstance(value, list) else [value]
        self._lines_without_id += isinstance(value, list) or len(text) > LONG_LINE or NOT_UTF8 in text
        for message in messages:
            if not isinstance(message, dict):
                self._lines_without_id += 1
            elif "id" in message and ("method" in message or not _ANSWER & message.keys()):
                self._open.setdefault(_key(message["id"]), []).append(str(message.get("method")))
                self._lines_without_id += not _is_clean(message)
            elif not _is_clean(message):
                self._lines_without_id += 1

    def answered(self, message: Json, line: str) -> None:
        key = _key(message.get("id"))
        waiting = self._open.get(key)
        if waiting:
            self._closed[key] = waiting.pop(0), line
        elif message.get("id") is None and "error" in message and self._lines_without_id:
            self._lines_without_id -= 1
        else:
            raise Violation(_EXPECTED, f"{self._description(message, key)}: {shorten(line)}")

    def _description(self, message: Json, key: Any) -> str:
        id_ = json.dumps(message.get("id"))
        if key in self._closed:
            method, first = self._closed[key]
            return f"a second answer to {method} (id {id_}), after {shorten(first)}; the second"
        if message.get("id") is None:
            return "an answer without an id, although every line had a request or a notification"
        others = [
            other for waiting in (self._open, self._closed) for other in waiting if _looks_like(other, key)
        ]
        similar = f", only one with the id {json.dumps(others[0][1])}" if others else ""
        return f"an answer with the id {id_}, but the client sent no such request{similar}"


def _is_clean(message: Json) -> bool:
    """Whether a message is a request, a notification or an answer whose id anyone can tell."""
    if message.get("jsonrpc") != "2.0" or not isinstance(message.get("params", {}), dict):
        return False
    id_ = message.get("id", "")
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        return False
    return isinstance(message.get("method"), str) or bool(_ANSWER & message.keys())


def _key(id_: Any) -> tuple[str, Any]:
    """A key that is equal for equal ids of the same type."""
    if isinstance(id_, bool) or id_ is None:
        return "literal", id_
    if isinstance(id_, int | float):
        return "number", float(id_) if _EXACT < abs(id_) < 1e300 else id_
    return ("string", id_) if isinstance(id_, str) else ("structure", json.dumps(id_))


def _looks_like(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    return one[0] != other[0] and str(one[1]) == str(other[1])
