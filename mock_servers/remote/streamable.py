"""Streamable HTTP: one endpoint; sessions and a GET stream in the legacy era, neither in the modern one."""

from mock_servers.actions import Action
from mock_servers.answers import MODERN_VERSION, Json
from mock_servers.incoming import is_answer
from mock_servers.journal import Journal
from mock_servers.lifecycle import Life
from mock_servers.player import NOTHING, Arrived
from mock_servers.remote.events import EventStream
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.headers import mismatch
from mock_servers.remote.player import Session
from mock_servers.remote.replies import OnStream, Reply
from mock_servers.remote.server import RemoteServer
from mock_servers.script import Script

SESSION = "Mcp-Session-Id"
_REFUSED = -32000


class StreamableHttp(RemoteServer):
    """The application of `python -m mock_servers http`."""

    def __init__(self, script: Script, journal: Journal, life: Life) -> None:
        super().__init__(script, journal, life)
        self._shared = self.new_session("shared")

    def serve(self, exchange: Exchange) -> None:
        if exchange.target.partition("?")[0] != self.http.path:
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

    def play_for_verb(self, exchange: Exchange, actions: list[Action]) -> None:
        session = self.sessions.get(exchange.header(SESSION) or "", self._shared)
        arrived, default = NOTHING, lambda: self.serve(exchange)
        output: OnStream
        if exchange.verb == "GET":
            stream = self.listening(session, exchange, self._headers(session))
            output, default = OnStream(stream), stream.open
        else:
            output = self._reply(session, exchange)
        if exchange.verb == "POST" and b'"method"' in exchange.body:
            found = self.read(exchange)
            if found is None:
                return
            arrived = Arrived(*found)
        self.perform(session, arrived, actions, exchange, output, default)

    # POST

    def _post(self, exchange: Exchange) -> None:
        found = self.read(exchange)
        if found is None:
            return
        message, text = found
        modern = not is_answer(message) and self._shared.stage.answers.is_modern(message)
        if not modern and not is_answer(message) and self._claims_to_be_modern(exchange):
            problem = self._shared.stage.answers.envelope_problem(message)
            assert problem is not None  # it lacks the version
            self.refuse(exchange, 400, problem.error, message.get("id"))
            return
        begins = message.get("method") == "initialize" and not modern
        session = self._shared if modern else self._session_of(exchange, message, begins=begins)
        if session is None:
            return
        reply = self._reply(session, exchange)
        if is_answer(message):
            session.stage.take_answer(message, text)
            reply.confirm()
            return
        refusal = session.stage.answers.refusal(message)
        if modern:
            reply.modern = True
            refusal = mismatch(exchange.header, message) or refusal
        arrived = reply.arrived = Arrived(message, text, refusal)
        if message["method"] == "notifications/cancelled":
            session.stage.answers.cancelled(message)
        actions = self.rules.actions_for(message)
        if actions is None and not arrived.is_request and refusal is None:
            reply.confirm()
            return
        if modern and refusal is None and message["method"] == "subscriptions/listen":
            self._listens(session, message, reply, exchange)
        self.perform(session, arrived, actions or [], exchange, reply)

    def _claims_to_be_modern(self, exchange: Exchange) -> bool:
        """With both eras on one URL the header tells a broken modern request from a legacy one."""
        return self.script.era == "both" and exchange.header("MCP-Protocol-Version") == MODERN_VERSION

    def _session_of(
        self, exchange: Exchange, message: Json | None, *, begins: bool = False
    ) -> Session | None:
        """The session of a legacy request; None = the request was refused."""
        if not self.http.sessions:
            return self._shared
        if begins:
            return self.new_session()
        identity = (message or {}).get("id")
        name = exchange.header(SESSION)
        if name is None:
            error = {"code": _REFUSED, "message": "Bad Request: no session id"}
            self.refuse(exchange, 400, error, identity)
            return None
        session = self.sessions.get(name)
        if session is not None:
            session.used += 1
            session.gone |= (
                self.http.session_requests is not None and session.used > self.http.session_requests
            )
        if session is None or session.gone or session is self._shared:
            self.refuse(exchange, 404, {"code": _REFUSED, "message": "Session not found"}, identity)
            return None
        return session

    def _reply(self, session: Session, exchange: Exchange) -> Reply:
        headers = self._headers(session)
        stream = EventStream(f"{session.id}-{exchange.n}", self.http, exchange, headers)
        session.all_streams.append(stream)
        return Reply(exchange, stream, self.http, headers)

    def _headers(self, session: Session) -> dict[str, str]:
        return {} if session is self._shared else {SESSION: session.id}

    def _listens(self, session: Session, message: Json, reply: Reply, exchange: Exchange) -> None:
        session.listening[message["id"]] = reply.stream

        def ended() -> None:
            session.listening.pop(message["id"], None)
            session.stage.answers.subscriptions.pop(message["id"], None)

        exchange.on_end = ended

    # GET and DELETE

    def _get(self, exchange: Exchange) -> None:
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
            self.listening(session, exchange, self._headers(session)).open()
        else:
            self._not_allowed(exchange)

    def _delete(self, exchange: Exchange) -> None:
        session = self._session_of(exchange, None)
        if session is None or self.http.delete is None:
            return
        if session is self._shared:
            self._not_allowed(exchange)
            return
        session.gone |= self.http.delete < 300
        exchange.respond(self.http.delete)

    def _not_allowed(self, exchange: Exchange) -> None:
        exchange.respond(405, b"Method Not Allowed", {"Allow": "POST"})
