"""Names the group in each question of its upstream, because the client knows only the proxy.

"MCP clients MUST provide UI that makes it clear which server is requesting information" (MCP 2025-11-25 and MCP 2026-07-28,
client/elicitation, "User Interaction Model"). A client shows its user the message of an elicitation, in form and in URL mode. Of a sampling
request, it shows the system prompt and the messages. So the name stands there. Control characters in the message of an elicitation become
U+FFFD. The other members of a question stay as the upstream wrote them.
"""

from __future__ import annotations

import re
from collections import deque
from typing import ClassVar
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend.bridge import URL_ELICITATION_REQUIRED
from dynamic_mcp.frontend.valid_questions import ELICITATION, valid_question
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Refusal, decode_members, format_size
from dynamic_mcp.protocol.known_members import KnownMembers
from dynamic_mcp.protocol.nulls import without_nulls

#: Open elicitations in URL mode that the proxy remembers for each group, and the largest length of an id.
MAX_ELICITATIONS = 256
MAX_ID = 1024

#: Control characters, with which a terminal could overwrite the name of the group.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

#: Questions in one result or error, and their bytes. Each question becomes objects and a task.
MAX_QUESTIONS = 64
MAX_QUESTIONS_SIZE = 8 << 20

_Members = dict[str, Raw]
_RESULT = KnownMembers("resultType", "inputRequests", "requestState", "_meta", "content", "structuredContent")
_QUESTION = KnownMembers("method", "params")
_ERROR, _DATA = KnownMembers("code", "message", "data"), KnownMembers("elicitations")


class _Asking(msgspec.Struct, gc=False):
    """Whether a result has questions. Other members leave nothing in memory, however many a result has."""

    questions: Raw = msgspec.field(name="inputRequests", default=Raw(b""))


_UNREADABLE = "its question to the user cannot be read"


class Elicitations:
    """The elicitations in URL mode that each group has begun."""

    def __init__(self) -> None:
        self._ids: WeakKeyDictionary[Group, deque[str]] = WeakKeyDictionary()

    def add(self, group: Group, params: bytes | Raw) -> None:
        """Note the id of an elicitation, if it has one."""
        id = _id_of(params)
        if id is not None and len(id) <= MAX_ID:
            self._ids.setdefault(group, deque(maxlen=MAX_ELICITATIONS)).append(id)

    def complete(self, group: Group, params: bytes | Raw) -> bool:
        """Whether the group began the elicitation of a notification. Its id is then free again."""
        id, open_ids = _id_of(params), self._ids.get(group)
        if id is None or open_ids is None or id not in open_ids:
            return False
        open_ids.remove(id)
        return True


class _Elicitation(msgspec.Struct):
    id: str | None = msgspec.field(name="elicitationId", default=None)


def _id_of(params: bytes | Raw) -> str | None:
    try:
        return msgspec.json.decode(params or b"{}", type=_Elicitation).id
    except msgspec.DecodeError:
        return None


def attributed(group: str, method: str, params: bytes) -> bytes:
    """The params of a question, with the name of the group in the text for the user. Raises Refusal if they are invalid."""
    try:
        match method:
            case "elicitation/create":
                members = decode_members(params or b"{}")
                members["message"] = _named(group, members.get("message"))
            case "sampling/createMessage":
                members = decode_members(params or b"{}")
                members["systemPrompt"] = _introduced(group, members.get("systemPrompt"))
            case _:
                return params
    except msgspec.DecodeError:
        raise Refusal(INVALID_PARAMS, f"the params of {method} are invalid") from None
    return msgspec.json.encode(members)


def attributed_result(group: str, result: bytes) -> bytes:
    """A result, with the name of the group in each of its questions. Raises UpstreamFailed if a question cannot be read."""
    # The name of the member may be written with escapes.
    if b'"inputRequests"' not in result and b"\\u" not in result:
        return result
    try:
        asked = msgspec.json.decode(result, type=_Asking).questions
    except msgspec.DecodeError:
        return result
    if not asked:
        return result
    _check_size(result)
    try:
        members = _RESULT.decode(result)
        _Counted.check(asked, dict)
        raws = msgspec.json.decode(asked, type=_Members)
        questions = {key: _QUESTION.decode(raw) for key, raw in raws.items()}
        for question in questions.values():
            method = msgspec.json.decode(question["method"], type=str)
            params = without_nulls(bytes(question.get("params", b"")))
            params = valid_question(method, params, lambda what: None)
            if params := attributed(group, method, params):
                question["params"] = Raw(params)
    except (msgspec.DecodeError, KeyError, Refusal):
        raise UpstreamFailed(_UNREADABLE) from None
    return msgspec.json.encode({**members, "inputRequests": questions})


def attributed_refusal(group: Group, refusal: UpstreamRefused, begun: Elicitations) -> UpstreamRefused:
    """An error of the upstream. If it asks for elicitations in URL mode, each has the name of the group, and ``begun`` gets it.

    Raises UpstreamFailed if they cannot be read.
    """
    if refusal.code != URL_ELICITATION_REQUIRED:
        return refusal
    try:
        _check_size(refusal.error)
        error = _ERROR.decode(refusal.error)
        data = _DATA.decode(error["data"])
        _Counted.check(data["elicitations"], list)
        elicitations = [*map(ELICITATION.decode, msgspec.json.decode(data["elicitations"], type=list[Raw]))]
        for each in elicitations:
            each["message"] = _named(group.name, each.get("message"))
            begun.add(group, msgspec.json.encode(each))
    except (msgspec.DecodeError, KeyError):
        raise UpstreamFailed(_UNREADABLE) from None
    data["elicitations"] = Raw(msgspec.json.encode(elicitations))
    return UpstreamRefused(msgspec.json.encode({**error, "data": data}))


def _check_size(value: bytes) -> None:
    if len(value) > MAX_QUESTIONS_SIZE:
        raise UpstreamFailed(f"its questions are larger than {format_size(MAX_QUESTIONS_SIZE)}")


class _Counted(msgspec.Struct):
    """Counts questions before each becomes objects."""

    count: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _Counted.count += 1
        if _Counted.count > MAX_QUESTIONS:
            raise UpstreamFailed(f"it asks more than {MAX_QUESTIONS} questions at once")

    @classmethod
    def check(cls, questions: Raw, kind: type) -> None:
        """Raises UpstreamFailed for too many questions, and msgspec.DecodeError for anything but questions in a dict or a list."""
        cls.count = 0
        msgspec.json.decode(questions, type=dict[str, cls] if kind is dict else list[cls])  # type: ignore[valid-type]


def _named(group: str, message: Raw | None) -> Raw:
    """A message after the name of the group. Raises ValidationError if it is not a string."""
    text = "" if message is None else msgspec.json.decode(message, type=str)
    shown = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))
    return Raw(msgspec.json.encode(f"[{group}] {shown}"))


def _introduced(group: str, prompt: Raw | None) -> Raw:
    """A system prompt after a sentence with the name of the group. Raises ValidationError if it is not a string."""
    sentence = f'The MCP server "{group}" makes this request.'
    if prompt is None or bytes(prompt) == NULL:
        return Raw(msgspec.json.encode(sentence))
    if bytes(prompt)[:1] != b'"':
        raise msgspec.ValidationError("not a string")
    return Raw(msgspec.json.encode(f"{sentence}\n\n")[:-1] + bytes(prompt)[1:])
