"""The answers that a server sends on its own stream, although the replies to the requests should have them.

MCP forbids such answers (2025-11-25, basic/transports, "Listening for Messages from the Server"), and some servers give no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import Message

#: Seconds to wait for the first answer on the server's own stream, in case the server gives its answers there.
ELSEWHERE_WAIT = 2.0


class AnswersElsewhere:
    """The answers on the own stream of one connection, by the ids of their requests."""

    def __init__(self, is_expected: Callable[[int], bool], on_use: Callable[[], None]) -> None:
        """``is_expected`` tells whether a request may get its answer on the stream of the current session.

        ``on_use`` is called when a request begins to wait for the stream, and when an answer has come there.
        """
        self._is_expected = is_expected
        self._on_use = on_use
        self._found: dict[int, asyncio.Future[Message]] = {}
        #: whether a request has got its answer there
        self._are_usual = False

    def keep(self, answer: Message) -> bool:
        """Keep an answer, in case the reply to its request has none; false if no request expects it."""
        id = whole_number(bytes(answer.id))
        if id is None or not self._is_expected(id):
            return False
        found = self._of(id)
        if not found.done():
            found.set_result(answer)
        self._on_use()
        return True

    def has_come(self, id: int) -> bool:
        """Whether the answer to this request has come already."""
        return id in self._found

    async def wait(self, id: int, failure: UpstreamFailed) -> Message:
        """Wait for the answer to a request whose reply has none. Raises ``failure`` if the server seems to send none on its stream.

        Raises UpstreamGone if no further stream follows.
        """
        found = self._of(id)
        if not found.done():
            self._on_use()
        try:
            async with asyncio.timeout(None if self._are_usual else ELSEWHERE_WAIT):
                answer = await found
        except TimeoutError:
            raise failure from None
        self._are_usual = True
        return answer

    def end(self, reason: str) -> None:
        """Fail the requests that wait, because no further stream follows in their session."""
        for found in self._found.values():
            if not found.done():
                found.set_exception(UpstreamGone(reason))

    def forget(self, id: int) -> None:
        """Note that the request is over."""
        self._found.pop(id, None)

    def _of(self, id: int) -> asyncio.Future[Message]:
        return self._found.setdefault(id, asyncio.get_running_loop().create_future())
