"""Answers HTTP requests of the legacy revisions: 2025-03-26, 2025-06-18 and 2025-11-25 (basic/transports)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynamic_mcp.extras.serving.delivery import AnswerCheck, deliver
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.posted import EVENTS, Accepted, Posted, accepted, accepts, cancelled_request
from dynamic_mcp.extras.serving.refused import RefusedRequest, respond
from dynamic_mcp.extras.serving.sessions import ServedSession, Sessions
from dynamic_mcp.extras.serving.stream import Stream, answer_post, send_events, while_there
from dynamic_mcp.extras.serving.versions import check_version
from dynamic_mcp.protocol import era, versions
from dynamic_mcp.protocol.ids import id_key

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Receive, Send


class LegacyEra:
    """One endpoint for all sessions."""

    def __init__(self, sessions: Sessions, limits: ServingLimits) -> None:
        self._sessions = sessions
        self._limits = limits

    async def post(self, posted: Posted, headers: Headers, origin: str, receive: Receive, send: Send) -> None:
        """Answer a POST. Raises RefusedRequest, and ClientGone if the client goes first."""
        check_version(headers, self._sessions.clients.config)
        if posted.problems and not posted.is_batch:
            await self._refuse(posted, headers)
        is_new = posted.single is not None and posted.single.method == "initialize" and bool(posted.single.id)
        session = (
            self._sessions.begin(origin) if is_new else self._sessions.of(headers.get(era.SESSION_HEADER))
        )
        with _connected(session):
            await self._post(session, posted, accepted(headers), receive, send)

    async def _refuse(self, posted: Posted, headers: Headers) -> None:
        """Raises RefusedRequest for what is no message. If it looks like an answer, the question of the proxy fails."""
        problem = posted.problems[0]
        if headers.get(era.SESSION_HEADER) is not None:
            await deliver(
                self._sessions.of(headers.get(era.SESSION_HEADER)).client, posted.line, lambda line: None
            )
        raise RefusedRequest(400, problem.reason, problem.code, id=problem.id)

    async def _post(
        self, session: ServedSession, posted: Posted, takes: Accepted, receive: Receive, send: Send
    ) -> None:
        expected = _expected(posted, session)
        if not expected:
            await deliver(session.client, posted.line, session.general.put)
            _end_cancelled(session, posted)
            await respond(send, 202)
            return
        fields = {era.SESSION_HEADER: session.id}
        check = AnswerCheck(posted)
        with session.streaming(expected) as stream:

            def reply(line: bytes) -> None:
                is_answer = check.is_answer(line)
                # A client that takes no events here may read them from its GET.
                (stream if is_answer or takes.events else session.general).put(line)
                if is_answer:
                    session.end(stream)

            await deliver(session.client, posted.line, reply)
            _end_cancelled(session, posted)
            posted.release()
            # The end of the connection is no cancellation: the client may come back for the answer.
            answering = answer_post(stream, send, fields, self._limits, takes, is_primed=session.is_primed)
            await while_there(receive, answering, session.was_cut)

    async def get(self, headers: Headers, receive: Receive, send: Send) -> None:
        """Send what a session gets outside of requests, or the rest of a stream. Raises RefusedRequest and ClientGone.

        204 tells the client that the stream is complete, so that it stops resuming it (HTML Standard, Server-sent events).
        """
        check_version(headers, self._sessions.clients.config)
        if not accepts(headers, EVENTS):
            raise RefusedRequest(406, f"Accept must contain {EVENTS}")
        if era.SESSION_HEADER not in headers:
            # Some clients look for a stream without their session. They take 400 for a failure of the server.
            text = f"without {era.SESSION_HEADER} there is no stream; begin with initialize"
            raise RefusedRequest(405, text, headers={"Allow": "POST"})
        session = self._sessions.of(headers.get(era.SESSION_HEADER))
        after: int | None = None
        stream: Stream = session.general
        if last_id := headers.get("last-event-id"):
            stream, after = session.find(last_id)
        if session.connections >= self._limits.max_streams + self._limits.max_listeners:
            raise RefusedRequest(429, "the session has too many connections", headers={"Retry-After": "1"})
        fields = {era.SESSION_HEADER: session.id}
        if after is not None and stream.is_complete(after):
            await respond(send, 204, headers=fields)
            return
        with _connected(session):
            sending = send_events(
                stream, send, fields, self._limits, after=after, is_primed=session.is_primed
            )
            await while_there(receive, sending, session.was_cut)

    async def delete(self, headers: Headers, send: Send) -> None:
        """End a session. Raises RefusedRequest."""
        check_version(headers, self._sessions.clients.config)
        await self._sessions.end(self._sessions.of(headers.get(era.SESSION_HEADER)))
        await respond(send, 204)


def _expected(posted: Posted, session: ServedSession) -> list[object]:
    """What will be answered: the ids of the requests, and a mark for each message that the core refuses."""
    if posted.is_batch and session.client.session.version != versions.WITH_BATCHES:
        return ["the error"]
    problems = [problem for problem in posted.problems if not problem.is_answer]
    return [*(id_key(bytes(request.id)) for request in posted.requests), *map(id, problems)]


def _end_cancelled(session: ServedSession, posted: Posted) -> None:
    """End the streams of requests that the client cancels, because they get no answer."""
    for message in posted.messages:
        if message.method == "notifications/cancelled":
            session.cancelled(cancelled_request(message))


@contextmanager
def _connected(session: ServedSession) -> Iterator[None]:
    """Count a connection of a session."""
    session.connections += 1
    try:
        yield
    finally:
        session.connections -= 1
        session.last_used = asyncio.get_running_loop().time()
