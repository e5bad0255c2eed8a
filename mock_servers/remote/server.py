"""What Streamable HTTP and HTTP+SSE have in common: journalling, refusing, sessions, and playing rules."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mock_servers.actions import Action
from mock_servers.answers import Answers, Json
from mock_servers.incoming import NotAMessage, Rules, read_message
from mock_servers.journal import Journal
from mock_servers.jsontext import encode
from mock_servers.lifecycle import Life
from mock_servers.player import NOTHING, Arrived, Performance
from mock_servers.remote.events import EventStream
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.headers import is_local
from mock_servers.remote.oauth.guard import Guard
from mock_servers.remote.player import RemotePerformance, RemoteStage, Session
from mock_servers.remote.replies import OnStream
from mock_servers.script import Script

_VERBS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


class Nowhere:
    """The output of messages that no request asked for; they are announced to sessions, not written."""

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class RemoteServer:
    """An ASGI application; the subclasses say what a verb does by default."""

    def __init__(self, script: Script, journal: Journal, life: Life) -> None:
        self.script = script
        self.http = script.http
        self.journal = journal
        self.life = life
        self.rules = Rules(script.on)
        self.sessions: dict[str, Session] = {}
        beside = urlsplit(script.http.endpoint).path
        self.guard = None if script.oauth is None else Guard(script.oauth, journal, beside)
        self._stage = RemoteStage(Answers(script), Nowhere(), journal, life)
        self._stage.ledger = None if self.guard is None else self.guard.ledger
        self._count = 0

    def begin(self) -> Starlette:
        """Play the startup actions; then the application."""
        session = self.new_session("none")
        Performance(session.stage, NOTHING, self.script.startup).play()
        del self.sessions[session.id]
        return Starlette(routes=[Route("/{path:path}", self, methods=_VERBS)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            exchange = await Exchange.received(Request(scope, receive), self.journal)
        except ClientDisconnect:
            return
        try:
            self._admit(exchange)
        except Exception:
            self.life.break_down()
        await exchange(scope, receive, send)

    def _admit(self, exchange: Exchange) -> None:
        if self.guard is not None and not self.guard.admits(exchange):
            return
        if self.http.local_only and not is_local(exchange.header):
            exchange.respond(403, b"Forbidden")
            return
        for name, value in self.http.required_headers.items():
            if exchange.header(name) != value:
                exchange.respond(401, b"Unauthorized", {"WWW-Authenticate": self.http.challenge})
                return
        actions = self.rules.actions_for_verb(exchange.verb)
        if actions is None:
            self.serve(exchange)
        else:
            self.play_for_verb(exchange, actions)

    # What subclasses say

    def serve(self, exchange: Exchange) -> None:
        """Do what a well-behaved server does with the request."""
        raise NotImplementedError

    def play_for_verb(self, exchange: Exchange, actions: list[Action]) -> None:
        """Play a rule that is about the verb of the request."""
        raise NotImplementedError

    # What subclasses use

    def new_session(self, name: str | None = None) -> Session:
        """A session of its own, with the tools of the moment."""
        self._count += 1
        answers = Answers(self.script)
        answers.tools = self._stage.answers.tools
        stage = replace(self._stage, answers=answers)
        session = stage.session = Session(
            name or f"Session-{self._count}_{secrets.token_hex(4)}-aBcXyZ", stage
        )
        self.sessions[session.id] = session
        return session

    def perform(
        self,
        session: Session,
        arrived: Arrived,
        actions: list[Action],
        exchange: Exchange,
        output: OnStream,
        default: Callable[[], None] | None = None,
    ) -> None:
        """Play in a thread of its own."""
        stage = replace(session.stage, output=output, default=default)
        performance = RemotePerformance(stage, arrived, actions, exchange, output, self._change_tools)

        def work() -> None:
            try:
                performance.play()
            except Exception:
                self.life.break_down()

        threading.Thread(target=work, daemon=True).start()

    def read(self, exchange: Exchange) -> tuple[Json, str] | None:
        """The message in a request; None = it was refused."""
        try:
            return read_message(exchange.body)
        except NotAMessage as problem:
            self.refuse(exchange, 400, problem.refused.error, problem.id)
            return None

    def refuse(self, exchange: Exchange, status: int, error: Json, id: Any = None) -> None:
        """Answer with this status and a JSON-RPC error."""
        body = encode({"jsonrpc": "2.0", "id": id, "error": error}).encode()
        self.journal.write_sent(body, n=exchange.n)
        exchange.respond(status, body, {"Content-Type": "application/json"})

    def listening(self, session: Session, exchange: Exchange, headers: dict[str, str]) -> EventStream:
        """A GET stream of the session, not yet open."""
        stream = EventStream(f"{session.id}-{exchange.n}", self.http, exchange, headers)
        session.streams.append(stream)
        session.all_streams.append(stream)
        exchange.on_end = lambda: session.streams.remove(stream)
        return stream

    def _change_tools(self, tools: list[Json]) -> None:
        for stage in (self._stage, *(session.stage for session in self.sessions.values())):
            stage.answers.tools = tools
