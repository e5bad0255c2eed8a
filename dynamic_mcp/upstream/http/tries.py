"""The requests of the legacy revisions in flight over Streamable HTTP: their session, and whether their answers say that it is lost.

Only the status 404 to a request with a session id is certain (MCP 2025-11-25, basic/transports, "Session Management"). Other statuses and
words can be those of a tool, about a session or a device of its own. So the server has to refuse a harmless request of the same session
too. Only the answer to the first try of a request counts. If it came after other messages for the request, the request has run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.protocol import era
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.session import HttpSession


class SessionGone(HttpStatus):
    """The server has forgotten the session of the request.

    The proxy repeats the request, unless the server answered with a status from 500 on: then the request may have run.
    """

    @property
    def may_repeat(self) -> bool:
        return self.status < 500

    @property
    def is_certain(self) -> bool:
        """Whether the session is lost. A server that refuses a new token in the session may refuse it everywhere."""
        return self.status not in refusals.OF_TOKENS


class TokenRefused(HttpStatus):
    """The server refuses a token that is new in the session, although the session goes on: so the refusal is about the token."""


class _Try(msgspec.Struct):
    session: int
    #: whether its answer may say that the session is lost
    may_be_lost: bool
    has_id: bool = False
    #: whether it shows if the session is lost, so that no other request has to
    confirms: bool = False


class Tries:
    """The requests of a connection, by their ids."""

    def __init__(self, session: HttpSession, confirm: Callable[[], Awaitable[bool]]) -> None:
        """``confirm`` makes a harmless request, and returns whether its answer says that the current session is lost."""
        self._session = session
        self._confirm = confirm
        self._tries: dict[int, _Try] = {}

    def begin(self, id: int, method: str | None, *, confirms: bool = False) -> int:
        """Note a request in the current session; the number of the session."""
        session = self._session
        has_session = session.version != era.MODERN and method not in handshake.METHODS
        self._tries[id] = _Try(session.number, has_session, session.id is not None, confirms)
        return session.number

    def repeat(self, id: int) -> None:
        """Note that the request is sent again, in the current session."""
        self._tries[id] = _Try(self._session.number, may_be_lost=False)

    def note_run(self, id: int) -> None:
        """Note that the server has begun to answer the request, so its session was not lost."""
        if (found := self._tries.get(id)) is not None:
            found.may_be_lost = False

    def end(self, id: int) -> None:
        """Note that the request has its answer, or will get none."""
        self._tries.pop(id, None)

    def is_current(self, id: int) -> bool:
        """Whether a request with this id waits for its answer in the current session."""
        return id in self._tries and not self.is_of_lost_session(id)

    def is_of_lost_session(self, id: int | None) -> bool:
        """Whether the session in which the request was sent has ended."""
        found = None if id is None else self._tries.get(id)
        return found is not None and found.session != self._session.number

    async def refusal_says_lost(self, id: int, reply: HttpReply) -> bool:
        """Whether a reply with an error status says that the session is lost."""
        found = self._tries.get(id)
        if found is None or not found.may_be_lost:
            return False
        if reply.status == 404 and found.has_id:
            return True
        if not await (reply.is_session_lost() if found.has_id else reply.asks_for_initialize()):
            return False
        return await self._is_confirmed(found)

    async def error_says_lost(self, id: int | None, error: bytes) -> bool:
        """Whether a JSON-RPC error in a successful reply says that the session is lost."""
        found = None if id is None else self._tries.get(id)
        if found is None or not found.may_be_lost or not refusals.is_session_lost_error(error):
            return False
        return await self._is_confirmed(found)

    async def _is_confirmed(self, found: _Try) -> bool:
        # Another request may have shown it already.
        return found.confirms or found.session != self._session.number or await self._confirm()
