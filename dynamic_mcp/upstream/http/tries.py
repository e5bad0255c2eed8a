"""The requests of the handshake revisions in flight over Streamable HTTP: their session, and whether their answers say that it is lost.

Only the answer to the first try may say so. If a repeated request gets the same answer in its new session, that has another cause.
"""

from __future__ import annotations

import msgspec

from dynamic_mcp.upstream.http.refusals import is_session_lost_error
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import HttpSession


class _Try(msgspec.Struct):
    session: int
    is_first: bool


class Tries:
    """The requests of a connection, by their ids."""

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        self._tries: dict[int, _Try] = {}
        #: whether a repeated request got the error of a lost session again, so that such errors have another cause
        self._errors_are_its_own = False

    def begin(self, id: int) -> int:
        """Note a request in the current session; the number of the session."""
        self._tries[id] = _Try(self._session.number, is_first=self._session.id is not None)
        return self._session.number

    def repeat(self, id: int) -> None:
        """Note that the request is sent again, in the current session."""
        self._tries[id] = _Try(self._session.number, is_first=False)

    def end(self, id: int) -> None:
        """Note that the request has its answer, or will get none."""
        self._tries.pop(id, None)

    def is_of_lost_session(self, id: int | None) -> bool:
        """Whether the session in which the request was sent has ended."""
        found = None if id is None else self._tries.get(id)
        return found is not None and found.session != self._session.number

    async def refusal_says_lost(self, id: int, reply: HttpReply) -> bool:
        """Whether a reply with an error status says that the session is lost."""
        found = self._tries.get(id)
        return found is not None and found.is_first and await reply.is_session_lost()

    def error_says_lost(self, id: int | None, error: bytes) -> bool:
        """Whether a JSON-RPC error says that the session is lost."""
        found = None if id is None else self._tries.get(id)
        if found is None or not is_session_lost_error(error):
            return False
        if found.is_first and not self._errors_are_its_own:
            return True
        self._errors_are_its_own = True
        return False
