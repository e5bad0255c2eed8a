"""Streamable HTTP: one endpoint; sessions and a GET stream in the legacy era, neither in the modern one."""

from typing import Any

from mock_servers.actions import Action
from mock_servers.answers import MODERN_VERSION, Json
from mock_servers.incoming import is_answer
from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle
from mock_servers.player import NO_MESSAGE, ReceivedMessage
from mock_servers.remote.event_stream import EventStream
from mock_servers.remote.exchange import HttpExchange
from mock_servers.remote.headers import mismatch
from mock_servers.remote.player import MockSession
from mock_servers.remote.server import RemoteServer
from mock_servers.remote.writers import PostResponseWriter, StreamWriter
from mock_servers.script import Script

SESSION = "Mcp-Session-Id"
_REFUSED = -32000


class StreamableHttp(RemoteServer):
    """The application of `python -m mock_servers http`."""

    def __init__(self, script: Script, journal: Journal, lifecycle: Lifecycle) -> None:
        super().__init__(script, journal, lifecycle)
        self._shared = self.new_session("shared")

    def serve(self, exchange: HttpExchange) -> None:
        path = exchange.target.partition("?")[0]
        if path in self.http.redirects:
            exchange.respond(self.http.redirects[path], b"", {"Location": self.http.path})
        elif path != self.http.path:
            exchange.respond(404, b"Not Found")
        elif exchange.verb == "POST":
            self._post(exchange)
        elif self.script.era == "modern":
            self._not_allowed(exchange)
        elif exchange.verb == "GET":
            self._get(exchange)
        elif exchange.verb == "DELETE":
            self._delete(exchange)
        else:
            self._not_allowed(exchange)

    def play_for_verb(self, exchange: HttpExchange, actions: list[Action]) -> None:
        session = self.sessions.get(exchange.header(SESSION) or "", self._shared)
        received, default = NO_MESSAGE, lambda: self.serve(exchange)
        writer: StreamWriter
        if exchange.verb == "GET":
            stream = self.new_get_stream(session, exchange, self._headers(session))
            writer, default = StreamWriter(stream), stream.open
        else:
            writer = self._post_writer(session, exchange)
        if exchange.verb == "POST" and b'"method"' in exchange.body:
            found = self.read(exchange)
            if found is None:
                return
            received = ReceivedMessage(*found)
        self.play(session, received, actions, exchange, writer, default)

    # POST

    def _post(self, exchange: HttpExchange) -> None:
        found = self.read(exchange)
        if found is None:
            return
        message, text = found
        modern = not is_answer(message) and self._shared.state.answers.is_modern(message)
        if not modern and not is_answer(message) and self._claims_to_be_modern(exchange):
            problem = self._shared.state.answers.envelope_problem(message)
            assert problem is not None  # it lacks the version
            self.refuse(exchange, 400, problem.error, message.get("id"))
            return
        is_initialize = message.get("method") == "initialize" and not modern
        session = self._shared if modern else self._session_of(exchange, message, is_initialize=is_initialize)
        if session is None:
            return
        writer = self._post_writer(session, exchange)
        if is_answer(message):
            session.state.take_answer(message, text)
            if not session.holds_answers:
                writer.confirm()
            return
        refusal = session.state.answers.refusal(message)
        if modern:
            writer.modern = True
            refusal = mismatch(exchange.header, message, session.state.answers.tools or []) or refusal
        received = writer.received = ReceivedMessage(message, text, refusal)
        if message["method"] == "notifications/cancelled":
            session.state.answers.cancel(message)
        actions = self.rules.actions_for(message)
        if actions is None and not received.is_request and refusal is None:
            writer.confirm()
            return
        if modern and refusal is None and message["method"] == "subscriptions/listen":
            self._subscribe(session, message, writer, exchange)
        self.play(session, received, actions or [], exchange, writer)

    def _claims_to_be_modern(self, exchange: HttpExchange) -> bool:
        """Whether the header claims the modern era: with both eras on one URL, it separates a defective modern request
        from a legacy one.
        """
        return self.script.era == "both" and exchange.header("MCP-Protocol-Version") == MODERN_VERSION

    def _session_of(
        self, exchange: HttpExchange, message: Json | None, *, is_initialize: bool = False
    ) -> MockSession | None:
        """The session of a legacy request. Without a usable session the request gets a refusal, and the result is None."""
        if not self.http.sessions:
            return self._shared
        if is_initialize:
            return self.new_session()
        identity = (message or {}).get("id")
        name = exchange.header(SESSION)
        if name is None:
            error = {"code": _REFUSED, "message": "Bad Request: no session id"}
            self.refuse(exchange, 400, error, identity)
            return None
        session = self.sessions.get(name)
        if session is not None:
            session.request_count += 1
            session.expired |= (
                self.http.session_requests is not None and session.request_count > self.http.session_requests
            )
        if session is None or session.expired or session is self._shared:
            self._refuse_lost(exchange, identity)
            return None
        if self.http.sticky and _cookie(session) not in (exchange.header("Cookie") or "").split("; "):
            # Another machine got the request.
            self._refuse_lost(exchange, identity)
            return None
        return session

    def _refuse_lost(self, exchange: HttpExchange, identity: Any) -> None:
        """Say that the session is unknown."""
        if self.http.lost == "400":
            exchange.respond(400, b"Invalid or missing session ID", {"Content-Type": "text/plain"})
        elif self.http.lost == "401":
            exchange.respond(401, b"Unauthorized: Session not found")
        elif self.http.lost == "error":
            self.refuse(exchange, 200, {"code": -32001, "message": "Session not found"}, identity)
        else:
            self.refuse(exchange, 404, {"code": _REFUSED, "message": "Session not found"}, identity)

    def _post_writer(self, session: MockSession, exchange: HttpExchange) -> PostResponseWriter:
        headers = self._headers(session)
        stream = EventStream(f"{session.id}-{exchange.n}", self.http, exchange, headers)
        session.all_streams.append(stream)
        return PostResponseWriter(exchange, stream, self.http, headers)

    def _headers(self, session: MockSession) -> dict[str, str]:
        if session is self._shared:
            return {}
        cookie = {"Set-Cookie": f"{_cookie(session)}; Path=/; HttpOnly"} if self.http.sticky else {}
        return {SESSION: session.id, **cookie}

    def _subscribe(
        self, session: MockSession, message: Json, writer: PostResponseWriter, exchange: HttpExchange
    ) -> None:
        session.subscription_streams[message["id"]] = writer.stream

        def ended() -> None:
            session.subscription_streams.pop(message["id"], None)
            session.state.answers.subscriptions.pop(message["id"], None)

        exchange.on_end = ended

    # GET and DELETE

    def _get(self, exchange: HttpExchange) -> None:
        session = self._session_of(exchange, None)
        if session is None:
            return
        last = exchange.header("Last-Event-ID")
        if last is not None:
            for stream in session.all_streams:
                if stream.has_sent(last):
                    stream.resume(exchange, last)
                    return
        if self.http.get:
            self.new_get_stream(session, exchange, self._headers(session)).open()
        else:
            self._not_allowed(exchange)

    def _delete(self, exchange: HttpExchange) -> None:
        session = self._session_of(exchange, None)
        if session is None or self.http.delete is None:
            return
        if session is self._shared:
            self._not_allowed(exchange)
            return
        session.expired |= self.http.delete < 300
        exchange.respond(self.http.delete)

    def _not_allowed(self, exchange: HttpExchange) -> None:
        exchange.respond(405, b"Method Not Allowed", {"Allow": "POST"})


def _cookie(session: MockSession) -> str:
    """The cookie of a session, with characters that some clients quote."""
    return f"LB={session.id[-14:-6]}+/="
