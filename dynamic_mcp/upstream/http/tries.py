"""The requests of the handshake revisions in flight over Streamable HTTP: their session, and whether their answers say that it is lost.

Only the answer to the first try may say so. If a repeated request gets the same answer in its new session, that has another cause, at
least for a while. A server without session ids can ask for ``initialize`` too; any other status or text is then about something else.
"""

from __future__ import annotations

import asyncio

import msgspec

from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.protocol import era
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http.refusals import is_session_lost_error
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds for which the error of a lost session has another cause, after a repeated request got it again. A server that restarts twice
#: in a row answers so too, so the errors count again afterwards.
OWN_ERRORS_TIME = 10.0


class SessionGone(HttpStatus):
    """The server has forgotten the session of the request.

    The proxy repeats the request, unless the server answered with a status from 500 on: then the request may have run.
    """

    @property
    def may_repeat(self) -> bool:
        return self.status < 500


class _Try(msgspec.Struct):
    session: int
    #: whether its answer may say that the session is lost
    is_first: bool
    has_id: bool = False


class Tries:
    """The requests of a connection, by their ids."""

    def __init__(self, session: HttpSession) -> None:
        self._session = session
        self._tries: dict[int, _Try] = {}
        #: the loop time until which errors of a lost session have another cause
        self._own_errors_until = float("-inf")

    def begin(self, id: int, method: str | None) -> int:
        """Note a request in the current session; the number of the session."""
        session = self._session
        has_session = session.version != era.MODERN and method not in handshake.METHODS
        self._tries[id] = _Try(session.number, is_first=has_session, has_id=session.id is not None)
        return session.number

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
        if found is None or not found.is_first:
            return False
        return await (reply.is_session_lost() if found.has_id else reply.asks_for_initialize())

    def error_says_lost(self, id: int | None, error: bytes) -> bool:
        """Whether a JSON-RPC error in a successful reply says that the session is lost."""
        found = None if id is None else self._tries.get(id)
        if found is None or not is_session_lost_error(error):
            return False
        now = asyncio.get_running_loop().time()
        if found.is_first:
            return now >= self._own_errors_until
        self._own_errors_until = now + OWN_ERRORS_TIME
        return False
