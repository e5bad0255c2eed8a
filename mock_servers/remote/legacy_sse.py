"""HTTP+SSE of 2024-11-05: GET opens a stream, which announces where to POST and carries every answer.

The query `sid` of a POST names its session; without `sid`, the newest session counts. The server refuses a POST to the
URL of the stream itself.
"""

from mock_servers.actions import Action
from mock_servers.incoming import is_answer
from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle
from mock_servers.player import NO_MESSAGE, ReceivedMessage
from mock_servers.remote.event_stream import EventStream
from mock_servers.remote.exchange import HttpExchange
from mock_servers.remote.player import MockSession, announce_endpoint
from mock_servers.remote.server import RemoteServer
from mock_servers.remote.writers import StreamWriter
from mock_servers.script import Script

# A rule with one of these actions answers the POST itself.
_HTTP_ANSWERS = frozenset({"respond", "cut", "wire"})


class LegacySse(RemoteServer):
    """The application of `python -m mock_servers sse`."""

    def __init__(self, script: Script, journal: Journal, lifecycle: Lifecycle) -> None:
        super().__init__(script, journal, lifecycle)
        #: with `one_transport`: those of all requests
        self._writers: list[StreamWriter] = []

    def serve(self, exchange: HttpExchange) -> None:
        at_stream = exchange.target.partition("?")[0] == self.http.path
        if at_stream and exchange.verb == "GET":
            session, writer = self._open(exchange)
            self._announce(session, writer)
        elif not at_stream and exchange.verb == "POST":
            self._post(exchange)
        elif exchange.verb == "POST":
            exchange.respond(self.http.stream_post, b"Post to the endpoint of the stream")
        else:
            exchange.respond(405, b"Method Not Allowed")

    def play_for_verb(self, exchange: HttpExchange, actions: list[Action]) -> None:
        if exchange.verb == "GET":
            session, writer = self._open(exchange)
            default = lambda: self._announce(session, writer)  # noqa: E731 - one of two defaults
        else:
            session = self._session_of(exchange) or self.new_session()
            writer = StreamWriter(EventStream("verb", self.http, exchange, {}))
            default = lambda: self.serve(exchange)  # noqa: E731
        self.play(session, NO_MESSAGE, actions, exchange, writer, default)

    def _open(self, exchange: HttpExchange) -> tuple[MockSession, StreamWriter]:
        session = self.new_session()
        stream = self.new_get_stream(session, exchange, {})
        if self.http.one_transport:
            for writer in self._writers:
                writer.stream = stream
        return session, StreamWriter(stream)

    def _announce(self, session: MockSession, writer: StreamWriter) -> None:
        announce_endpoint(session, writer.stream, self.http.endpoint)

    def _session_of(self, exchange: HttpExchange) -> MockSession | None:
        """The session of a POST, which must have an open stream; None if there is none."""
        name = exchange.query.get("sid")
        sessions = list(self.sessions.values()) if name is None else [self.sessions.get(name)]
        known = (session for session in reversed(sessions) if session and not session.expired)
        return next((session for session in known if session.get_streams), None)

    def _refuse_lost(self, exchange: HttpExchange) -> None:
        """Say that the session is unknown, as the official SDKs do."""
        if self.http.lost == "400":
            exchange.respond(400, b"No transport found for sessionId", {"Content-Type": "text/plain"})
        else:
            exchange.respond(404, b"Could not find session")

    def _post(self, exchange: HttpExchange) -> None:
        session = self._session_of(exchange)
        if session is None:
            self._refuse_lost(exchange)
            return
        found = self.read(exchange)
        if found is None:
            return
        message, text = found
        if is_answer(message) and session.holds_answers:
            session.state.take_answer(message, text)
            return
        actions: list[Action] | None = None
        if not is_answer(message):
            actions = self.rules.actions_for(message)
        if not any(action["do"] in _HTTP_ANSWERS for action in actions or []):
            body = self.http.accepted_body or "Accepted"
            exchange.respond(self.http.accepted, body.encode(), {"Content-Type": "text/plain"})
        if is_answer(message):
            session.state.take_answer(message, text)
            return
        received = ReceivedMessage(message, text, session.state.answers.refusal(message))
        if received.is_request or actions is not None:
            writer = StreamWriter(session.get_streams[-1])
            if self.http.one_transport:
                self._writers.append(writer)
            self.play(session, received, actions or [], exchange, writer)
