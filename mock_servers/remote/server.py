"""The common part of Streamable HTTP and HTTP+SSE: journalling, refusals, sessions, and rules."""

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
from mock_servers.incoming import InvalidMessage, RuleMatcher, read_message
from mock_servers.journal import Journal
from mock_servers.jsontext import encode
from mock_servers.lifecycle import Lifecycle
from mock_servers.player import NO_MESSAGE, Player, ReceivedMessage
from mock_servers.remote.event_stream import EventStream
from mock_servers.remote.exchange import HttpExchange
from mock_servers.remote.headers import is_local
from mock_servers.remote.oauth.guard import OAuthGuard
from mock_servers.remote.player import MockSession, RemotePlayer, SessionState
from mock_servers.remote.writers import NullWriter, StreamWriter
from mock_servers.script import Script

_VERBS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


class RemoteServer:
    """An ASGI application; the subclasses implement the default for each verb."""

    def __init__(self, script: Script, journal: Journal, lifecycle: Lifecycle) -> None:
        self.script = script
        self.http = script.http
        self.journal = journal
        self.lifecycle = lifecycle
        self.rules = RuleMatcher(script.on)
        self.sessions: dict[str, MockSession] = {}
        messages_path = urlsplit(script.http.endpoint).path
        self.guard = None if script.oauth is None else OAuthGuard(script.oauth, journal, messages_path)
        self._state = SessionState(Answers(script), NullWriter(), journal, lifecycle)
        self._state.token_registry = None if self.guard is None else self.guard.token_registry
        self._count = 0

    def begin(self) -> Starlette:
        """Play the startup actions, then return the application."""
        session = self.new_session("none")
        Player(session.state, NO_MESSAGE, self.script.startup).play()
        del self.sessions[session.id]
        return Starlette(routes=[Route("/{path:path}", self, methods=_VERBS)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            exchange = await HttpExchange.received(Request(scope, receive), self.journal)
        except ClientDisconnect:
            return
        try:
            self._dispatch(exchange)
        except Exception:
            self.lifecycle.abort()
        await exchange(scope, receive, send)

    def _dispatch(self, exchange: HttpExchange) -> None:
        if self.guard is not None and not self.guard.admits(exchange):
            return
        if self.http.local_only and not is_local(exchange.header):
            exchange.respond(403, b"Forbidden")
            return
        for name, value in self.http.required_headers.items():
            if exchange.header(name) != value:
                exchange.respond(401, b"Unauthorized", {"WWW-Authenticate": self.http.challenge})
                return
        # A client may look for metadata at any time, and that uses up no rule.
        is_metadata = exchange.target.startswith("/.well-known/")
        actions = None if is_metadata else self.rules.actions_for_verb(exchange.verb)
        if actions is None:
            self.serve(exchange)
        else:
            self.play_for_verb(exchange, actions)

    # For subclasses to implement

    def serve(self, exchange: HttpExchange) -> None:
        """Serve the request as a well-behaved server does."""
        raise NotImplementedError

    def play_for_verb(self, exchange: HttpExchange, actions: list[Action]) -> None:
        """Play a rule for the verb of the request."""
        raise NotImplementedError

    # For subclasses to use

    def new_session(self, name: str | None = None) -> MockSession:
        """A new session, with the current tools."""
        self._count += 1
        answers = Answers(self.script)
        answers.tools = self._state.answers.tools
        state = replace(self._state, answers=answers, is_silent=threading.Event())
        session = state.session = MockSession(
            name or f"Session-{self._count}_{secrets.token_hex(4)}-aBcXyZ", state
        )
        self.sessions[session.id] = session
        return session

    def play(
        self,
        session: MockSession,
        received: ReceivedMessage,
        actions: list[Action],
        exchange: HttpExchange,
        writer: StreamWriter,
        default: Callable[[], None] | None = None,
    ) -> None:
        """Play the actions in a new thread; `default` replaces the default answer."""
        state = replace(session.state, writer=writer, default=default)
        player = RemotePlayer(state, received, actions, exchange, writer, self._change_tools)

        def work() -> None:
            try:
                player.play()
            except Exception:
                self.lifecycle.abort()

        threading.Thread(target=work, daemon=True).start()

    def read(self, exchange: HttpExchange) -> tuple[Json, str] | None:
        """The message in a request. An invalid message gets a refusal, and the result is None."""
        try:
            return read_message(exchange.body)
        except InvalidMessage as problem:
            self.refuse(exchange, 400, problem.refused.error, problem.id)
            return None

    def refuse(self, exchange: HttpExchange, status: int, error: Json, id: Any = None) -> None:
        """Answer with this status and a JSON-RPC error."""
        body = encode({"jsonrpc": "2.0", "id": id, "error": error}).encode()
        self.journal.write_sent(body, n=exchange.n)
        exchange.respond(status, body, {"Content-Type": "application/json"})

    def new_get_stream(
        self, session: MockSession, exchange: HttpExchange, headers: dict[str, str]
    ) -> EventStream:
        """A new GET stream of the session, not yet open."""
        stream = EventStream(f"{session.id}-{exchange.n}", self.http, exchange, headers)
        session.get_streams.append(stream)
        session.all_streams.append(stream)
        exchange.on_end = lambda: session.get_streams.remove(stream)
        return stream

    def _change_tools(self, tools: list[Json]) -> None:
        for state in (self._state, *(session.state for session in self.sessions.values())):
            state.answers.tools = tools
