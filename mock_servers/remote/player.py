"""Plays the actions of a script for one HTTP request: those of every mock, and those of `mock_servers.remote_actions`."""

import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mock_servers.actions import ANSWERING, Action
from mock_servers.answers import SUBSCRIPTION_KEY, Json, meta_of
from mock_servers.jsontext import fill, slice_of
from mock_servers.player import NO_MESSAGE, MockState, Player, ReceivedMessage, answer, line_of
from mock_servers.remote.event_stream import EventStream, encode_event
from mock_servers.remote.exchange import HttpExchange
from mock_servers.remote.oauth.token_registry import TokenRegistry
from mock_servers.remote.writers import PostResponseWriter, StreamWriter
from mock_servers.remote_actions import ANSWERING as REMOTE_ANSWERING


@dataclass
class MockSession:
    """A client as the server knows it. It can resume every stream in `all_streams`."""

    id: str
    state: "SessionState"
    get_streams: list[EventStream] = field(default_factory=list)
    all_streams: list[EventStream] = field(default_factory=list)
    #: the streams of open `subscriptions/listen` requests, by request id
    subscription_streams: dict[Any, EventStream] = field(default_factory=dict)
    request_count: int = 0
    expired: bool = False
    #: whether POSTs with answers get no response
    holds_answers: bool = False

    def announce(self, message: Json) -> None:
        """Send a message that belongs to no request: on the stream of its subscription, or on all GET streams."""
        subscription = meta_of(message).get(SUBSCRIPTION_KEY)
        streams = (
            list(self.get_streams) if subscription is None else [self.subscription_streams[subscription]]
        )
        for stream in streams:
            stream.message(line_of(message, NO_MESSAGE).decode().removesuffix("\n"))
        if not streams:
            self.state.journal.write("action", do="unheard", method=message.get("method"))


def announce_endpoint(session: MockSession, stream: EventStream, uri: str) -> None:
    """Announce the URL for messages on the stream."""
    exchange = stream.exchange
    origin = f"{exchange.connection.scheme}://{exchange.header('Host')}"
    announced = uri.replace("$sid", session.id).replace("$origin", origin)
    stream.raw(encode_event(announced, name="endpoint"))


@dataclass
class SessionState(MockState):
    """The state that all players of a session share. `default`, if set, replaces the default answer."""

    session: MockSession | None = None
    default: Callable[[], None] | None = None
    token_registry: TokenRegistry | None = None

    def answer_by_default(self, received: ReceivedMessage) -> None:
        if self.default is not None:
            self.default()
        else:
            super().answer_by_default(received)

    def send(self, message: Any, received: ReceivedMessage = NO_MESSAGE) -> None:
        if received is NO_MESSAGE and self.session is not None:
            self.session.announce(message)
        else:
            super().send(message, received)


class RemotePlayer(Player):
    """Plays the actions for one HTTP request, `exchange`, in its own thread."""

    answering = ANSWERING | REMOTE_ANSWERING

    def __init__(
        self,
        state: SessionState,
        received: ReceivedMessage,
        actions: list[Action],
        exchange: HttpExchange,
        writer: StreamWriter,
        change_tools: Callable[[list[Json]], None],
    ) -> None:
        super().__init__(state, received, actions)
        assert state.session is not None
        self._session = state.session
        self._token_registry = state.token_registry
        self._exchange = exchange
        self._writer = writer
        self._change_tools = change_tools

    def play(self) -> None:
        """Play all actions, then complete the response unless it has to stay open."""
        super().play()
        stays_open = self._state.is_silent.is_set() or any(
            action["do"] in ("silence", "close_stdout") for action in self._actions
        )
        subscribes = self._received.id in self._session.subscription_streams and self._received.is_request
        if isinstance(self._writer, PostResponseWriter) and not stays_open and not subscribes:
            self._writer.finish()

    def answer_as(self, form: str, content_type: str | None) -> None:
        assert isinstance(self._writer, PostResponseWriter), "answer_as is for Streamable HTTP"
        self._writer.form = "sse" if form == "sse" else "json"
        self._writer.content_type = content_type or self._writer.content_type
        if content_type is not None and form == "sse":
            self._writer.stream.headers["Content-Type"] = content_type

    def respond(
        self,
        status: int,
        headers: dict[str, str],
        pause: float | None,
        text: str | None = None,
        base64: str | None = None,
    ) -> None:
        body = self._content(text, base64)
        self._exchange.journal.write_received("http-body", body, n=self._exchange.n)
        if pause is None:
            self._exchange.respond(status, body, headers)
            return
        self._exchange.start(status, {**headers, "Content-Length": str(len(body))})
        for at in range(len(body)):
            if self._exchange.over.wait(pause):
                return
            self._exchange.write(body[at : at + 1])
        self._exchange.end()

    def stream(self, pieces: list[dict[str, Any]], pause: float) -> None:
        for number, piece in enumerate(pieces):
            if number and pause:
                time.sleep(pause)
            self._writer.stream.raw(self._content(piece.get("text"), piece.get("base64")))

    def event(self, data: str | None, id: str | None, retry: int | None) -> None:
        if isinstance(self._writer, PostResponseWriter):
            self._writer.form = "sse"
        self._writer.stream.event(data, id, retry)

    def end_stream(self) -> None:
        if isinstance(self._writer, PostResponseWriter):
            self._writer.form = "sse"
        self._writer.stream.pause()

    def cut(self, reset: bool) -> None:
        self._exchange.cut(reset)

    def wire(self, text: str | None = None, base64: str | None = None) -> None:
        self._exchange.wire(self._content(text, base64))

    def expire_session(self) -> None:
        self._session.expired = True

    def hold_answers(self) -> None:
        self._session.holds_answers = True

    def push(self, method: str, params: Json | None) -> None:
        more = {} if params is None else {"params": params}
        self._session.announce({"jsonrpc": "2.0", "method": method, **more})

    def close_streams(self, reset: bool) -> None:
        for stream in list(self._session.get_streams):
            stream.exchange.cut(reset)

    def revoke_tokens(self, all_later: bool) -> None:
        assert self._token_registry is not None, "revoke_tokens is for a script with oauth"
        self._token_registry.revoke_access(all_later=all_later)

    def refuse_tokens(self, seconds: float) -> None:
        assert self._token_registry is not None, "refuse_tokens is for a script with oauth"
        self._token_registry.refuse_access(seconds)

    def endpoint(self, uri: str) -> None:
        announce_endpoint(self._session, self._writer.stream, uri)

    def set_tools(self, tools: list[Json]) -> None:
        self._change_tools(tools)

    def _content(self, text: str | None, base64: str | None) -> bytes:
        if base64 is not None:
            return b64decode(base64)
        text = text or ""
        if "$headers" in text:
            lines = (f"{name}: {value}" for name, value in self._exchange.head)
            text = text.replace("$headers", "\n".join(lines))
        if "$answer" in text:
            line = line_of(answer(self._received, self._state.default_body(self._received)), self._received)
            text = text.replace("$answer", line.decode().removesuffix("\n"))
        return fill(
            text, self._received.id, slice_of(self._received.text or "{}", "params", "arguments") or "{}"
        ).encode()
