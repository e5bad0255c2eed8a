"""Takes what a server sends in its replies to POSTs, and on its own stream.

The answer to a request comes from the reply to its POST: as JSON, or as the event with its id. Other messages may precede the answer,
and all of them reach the peer. A bad reply fails only its own request. An answer on the server's own stream counts if the reply has no
message (``answers_elsewhere``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Raw

from dynamic_mcp.errors import HeadersRefused, UpstreamRefused
from dynamic_mcp.log import log
from dynamic_mcp.protocol import answers, era, jsonrpc, large, replacements
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import Malformed, Message
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pieces import Line, is_batch, size_of
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream.flow import EventFlow
from dynamic_mcp.upstream.http.answers_elsewhere import AnswersElsewhere
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.json_body import json_body, messages_in, no_answer
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.reply_stream import ReplyStream
from dynamic_mcp.upstream.http.tries import SessionGone, TokenRefused, Tries

#: Bytes of the largest JSON-RPC error in a reply with an error status that reaches the client, because all of it is searched for secrets.
_MAX_ERROR = 1 << 16


class HttpRefusal(NamedTuple):
    """A reply with an error status. ``are_outdated`` tells whether its request would have other headers now."""

    reply: HttpReply
    are_outdated: Callable[[], bool]


class Replies:
    """Finds the answers in the replies of one connection."""

    def __init__(
        self,
        client: HttpClient,
        peer: Peer,
        tries: Tries,
        elsewhere: AnswersElsewhere,
        flow: EventFlow,
        max_size: int,
    ) -> None:
        """``max_size`` is the size of the largest message in bytes."""
        self._client = client
        self._peer = peer
        self._tries = tries
        self._elsewhere = elsewhere
        self._flow = flow
        self._max_size = max_size
        #: take what is no message in the JSON body that answers a request
        self._notes: dict[int, Callable[[Malformed], None]] = {}

    async def take_json(self, id: int, reply: HttpReply, are_outdated: Callable[[], bool]) -> None:
        """Take the answer from a JSON body. A reply with an error status may contain a JSON-RPC error, which is the answer.

        ``are_outdated`` tells whether the request would have other headers now. Raises UpstreamFailed.
        """
        if reply.status >= 400:
            # Before the whole body is read, so that a refusal can show its words.
            await reply.beginning_of_body()
        if reply.status >= 400 and await self._tries.refusal_says_lost(id, reply):
            problem = await self._client.refusal(reply, f"it does not know the session (HTTP {reply.status})")
            raise SessionGone(str(problem), problem.last_output, status=reply.status)
        if reply.may_miss_session_of_token:
            problem = await self._client.refusal(reply)
            raise TokenRefused(str(problem), problem.last_output, status=reply.status)
        body = await json_body(reply, self._max_size)
        problems: list[str] = []

        def note(problem: Malformed) -> None:
            problem.reason = f"{problem.reason} ({reply.outline})"
            problems.append(problem.reason)

        try:
            elements = await messages_in(body)
        except Malformed as problem:
            elements = ()
            note(problem)
        self._notes[id] = note
        try:
            refusal = HttpRefusal(reply, are_outdated) if reply.status >= 400 else None
            if await self._deliver_all(id, elements, refusal=refusal):
                return
        finally:
            del self._notes[id]
        if reply.status >= 300:
            raise await self._client.refusal(reply)
        raise await no_answer(reply, body, problems)

    def stream(self, id: int | None, last_id: str = "") -> ReplyStream:
        return ReplyStream(
            id,
            lambda data: self._deliver_event(id, data),
            self._peer.take_oversized,
            self._flow,
            max_size=self._max_size,
            last_id=last_id,
        )

    async def _deliver_event(self, id: int | None, data: Line) -> bool:
        """Handle the data of an event: a message, or a batch. True if the answer to the request with this id is in it."""
        if not is_batch(data):
            return await self.deliver(id, data)
        try:
            elements = await large.elements_of_any(data)
        except Malformed:
            return await self.deliver(id, data)
        return await self._deliver_all(id, elements)

    async def _deliver_all(
        self, id: int | None, elements: Iterable[Line], *, refusal: HttpRefusal | None = None
    ) -> bool:
        is_answered, slices = False, Slices()
        for element in elements:
            is_answered |= await self.deliver(id, element, refusal=refusal)
            await slices.rest()
        return is_answered

    async def deliver(self, id: int | None, data: Line, *, refusal: HttpRefusal | None = None) -> bool:
        """Handle one message of a reply; true for the answer to the request with this id."""
        own = b"" if id is None else b"%d" % id
        try:
            message = await replacements.parse_any(data)
        except Malformed as problem:
            if id is not None and id in self._notes:
                self._notes[id](problem)
            # Only the reply to a request can end it.
            is_own = problem.is_answer and self._is_own(id, problem.id)
            problem.is_answer = is_own
            if refusal is not None and not is_own:
                # Its words are shown, so nothing is lost.
                return False
            self._peer.receive_malformed(problem)
            if not is_own:
                self._peer.count_junk(size_of(data))
            return is_own
        if message.method is not None:
            if id is not None:
                self._tries.note_run(id)
            if message.id and self._tries.is_of_lost_session(id):
                log.debug("a request of the server was dropped, because its session is lost")
            else:
                self._peer.receive_message(message, within=id)
            return False
        error = message.error
        self._peer.note_repairs(message)
        if error and refusal is not None:
            if len(error) > _MAX_ERROR:
                # The beginning of the body is shown instead.
                return False
            error = Raw(self._client.without_hidden(refusal.reply, bytes(error)))
        if error and (refusal is not None or bytes(message.id) == jsonrpc.NULL):
            # A server that refuses the whole HTTP request may not have read the id.
            message = Message(jsonrpc="2.0", id=Raw(own), error=error)
        if id is None and self._elsewhere.keep(message):
            return False
        if not self._is_own(id, bytes(message.id)):
            self._peer.count_junk(size_of(data))
            return False
        if message.error and refusal is None and await self._tries.error_says_lost(id, bytes(message.error)):
            raise SessionGone("it does not know the session")
        if id is None or refusal is None or refusal.reply.status >= 500 or not _is_mismatch(message):
            self._peer.receive_answer(message)
        else:
            valid = answers.valid_error(bytes(message.error))
            self._peer.fail(id, HeadersRefused(valid, refusal.are_outdated))
        return True

    def _is_own(self, id: int | None, found: bytes) -> bool:
        return id is not None and whole_number(found) == id


def _is_mismatch(message: Message) -> bool:
    """Whether a refusal says that the headers do not fit the body."""
    return bool(message.error) and UpstreamRefused(bytes(message.error)).code == era.HEADER_MISMATCH
