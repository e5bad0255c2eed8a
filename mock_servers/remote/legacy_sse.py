"""HTTP+SSE of 2024-11-05: GET opens a stream, which announces where to POST and carries every answer.

A message belongs to the stream whose id is in the query `sid`, or to the newest one. A POST to the URL of
the stream itself is refused.
"""

from mock_servers.actions import Action
from mock_servers.incoming import is_answer
from mock_servers.player import NOTHING, Arrived
from mock_servers.remote.events import EventStream
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.player import Session, announce_endpoint
from mock_servers.remote.replies import OnStream
from mock_servers.remote.server import RemoteServer

# A rule with one of these answers the POST itself.
_HTTP_ANSWERS = frozenset({"respond", "cut", "wire"})


class LegacySse(RemoteServer):
    """The application of `python -m mock_servers sse`."""

    def serve(self, exchange: Exchange) -> None:
        at_stream = exchange.target.partition("?")[0] == self.http.path
        if at_stream and exchange.verb == "GET":
            session, output = self._opened(exchange)
            self._announce(session, output)
        elif not at_stream and exchange.verb == "POST":
            self._post(exchange)
        elif exchange.verb == "POST":
            exchange.respond(self.http.stream_post, b"Post to the endpoint of the stream")
        else:
            exchange.respond(405, b"Method Not Allowed")

    def play_for_verb(self, exchange: Exchange, actions: list[Action]) -> None:
        if exchange.verb == "GET":
            session, output = self._opened(exchange)
            default = lambda: self._announce(session, output)  # noqa: E731 - one of two defaults
        else:
            session = self._session_of(exchange) or self.new_session()
            output = OnStream(EventStream("verb", self.http, exchange, {}))
            default = lambda: self.serve(exchange)  # noqa: E731
        self.perform(session, NOTHING, actions, exchange, output, default)

    def _opened(self, exchange: Exchange) -> tuple[Session, OnStream]:
        session = self.new_session()
        stream = self.listening(session, exchange, {})
        return session, OnStream(stream)

    def _announce(self, session: Session, output: OnStream) -> None:
        announce_endpoint(session, output.stream, self.http.endpoint)

    def _session_of(self, exchange: Exchange) -> Session | None:
        """The session with an open stream that a message is for."""
        name = exchange.query.get("sid")
        sessions = list(self.sessions.values()) if name is None else [self.sessions.get(name)]
        return next((session for session in reversed(sessions) if session and session.streams), None)

    def _post(self, exchange: Exchange) -> None:
        session = self._session_of(exchange)
        if session is None:
            exchange.respond(404, b"Could not find session")
            return
        found = self.read(exchange)
        if found is None:
            return
        message, text = found
        actions: list[Action] | None = None
        if not is_answer(message):
            actions = self.rules.actions_for(message)
        if not any(action["do"] in _HTTP_ANSWERS for action in actions or []):
            body = self.http.accepted_body or "Accepted"
            exchange.respond(self.http.accepted, body.encode(), {"Content-Type": "text/plain"})
        if is_answer(message):
            session.stage.take_answer(message, text)
            return
        arrived = Arrived(message, text, session.stage.answers.refusal(message))
        if arrived.is_request or actions is not None:
            output = OnStream(session.streams[-1])
            self.perform(session, arrived, actions or [], exchange, output)
