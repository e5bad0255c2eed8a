"""Questions to the user in the result of a modern upstream (MCP 2026-07-28, basic/patterns/mrtr), and a legacy client that answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.frontend.session import REQUIRED_CAPABILITIES
from dynamic_mcp.wording import cut

_INPUT_REQUIRED = b'"input_required"'


class Question(msgspec.Struct):
    """One request that the client has to answer."""

    method: str
    params: Raw = Raw(b"{}")


class Questions(msgspec.Struct):
    """An ``input_required`` result."""

    requests: dict[str, Question] = msgspec.field(name="inputRequests", default_factory=dict)
    state: Raw = msgspec.field(name="requestState", default=Raw(b""))


class _Type(msgspec.Struct):
    kind: str | None = msgspec.field(name="resultType", default=None)


def questions_of(result: bytes) -> Questions | None:
    """The questions in a result of a modern upstream; None for a final result. Raises UpstreamFailed if they are invalid.

    ``attribution.attributed_result`` has bounded their number.
    """
    if _INPUT_REQUIRED not in result:
        return None
    try:
        if msgspec.json.decode(result, type=_Type).kind != "input_required":
            return None
        return msgspec.json.decode(result, type=Questions)
    except msgspec.DecodeError:
        raise UpstreamFailed("its question to the user cannot be read") from None


async def ask_client(
    questions: Questions, can: Callable[[str], bool], ask: Callable[[str, bytes], Awaitable[bytes]]
) -> Raw:
    """Send all questions to a legacy client at once; the ``inputResponses`` for the second call.

    ``can`` says whether the client has a capability. Raises UpstreamFailed if the client cannot answer, or refuses to.
    """
    for question in questions.requests.values():
        if not can(REQUIRED_CAPABILITIES.get(question.method, "")):
            raise UpstreamFailed(f"the tool needs {cut(question.method)}, which this client does not support")
    try:
        async with asyncio.TaskGroup() as tasks:
            answers = {
                key: tasks.create_task(_answer_to(ask, question))
                for key, question in questions.requests.items()
            }
    except* UpstreamError:
        # The first refusal has cancelled the other questions.
        raise UpstreamFailed("the client did not answer the tool's request") from None
    by_key = {key: Raw(task.result()) for key, task in answers.items()}
    return Raw(msgspec.json.encode(by_key))


async def _answer_to(ask: Callable[[str, bytes], Awaitable[bytes]], question: Question) -> bytes:
    return await ask(question.method, bytes(question.params))
