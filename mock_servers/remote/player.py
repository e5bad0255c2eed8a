"""Plays a script's actions for one HTTP request: those of any mock, and those of `mock_servers.remote_actions`."""

import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mock_servers.actions import ANSWERING, Action
from mock_servers.answers import SUBSCRIPTION_KEY, Json, meta_of
from mock_servers.jsontext import fill, slice_of
from mock_servers.player import NOTHING, Arrived, Performance, Stage, answer, line_of
from mock_servers.remote.events import EventStream, encode_event
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.oauth.token_registry import Ledger
from mock_servers.remote.replies import OnStream, Reply
from mock_servers.remote_actions import ANSWERING as REMOTE_ANSWERING


@dataclass
class Session:
    """A client as the server knows it. `streams` are its GET streams, `all_streams` what it may resume."""

    id: str
    stage: "RemoteStage"
    streams: list[EventStream] = field(default_factory=list)
    all_streams: list[EventStream] = field(default_factory=list)
    listening: dict[Any, EventStream] = field(default_factory=dict)
    used: int = 0
    gone: bool = False

    def announce(self, message: Json) -> None:
        """Send a message that belongs to no request to whoever listens."""
        subscription = meta_of(message).get(SUBSCRIPTION_KEY)
        streams = list(self.streams) if subscription is None else [self.listening[subscription]]
        for stream in streams:
            stream.message(line_of(message, NOTHING).decode().removesuffix("\n"))
        if not streams:
            self.stage.journal.write("action", do="unheard", method=message.get("method"))


def announce_endpoint(session: Session, stream: EventStream, uri: str) -> None:
    """Say on the stream where messages go."""
    exchange = stream.exchange
    origin = f"{exchange.connection.scheme}://{exchange.header('Host')}"
    announced = uri.replace("$sid", session.id).replace("$origin", origin)
    stream.raw(encode_event(announced, name="endpoint"))


@dataclass
class RemoteStage(Stage):
    """What the performances share; `session` is whom they play for. `default`, if set, stands in the place
    of the default answer; `ledger` knows the tokens."""

    session: Session | None = None
    default: Callable[[], None] | None = None
    ledger: Ledger | None = None

    def answer_by_default(self, arrived: Arrived) -> None:
        if self.default is not None:
            self.default()
        else:
            super().answer_by_default(arrived)

    def send(self, message: Any, arrived: Arrived = NOTHING) -> None:
        if arrived is NOTHING and self.session is not None:
            self.session.announce(message)
        else:
            super().send(message, arrived)


class RemotePerformance(Performance):
    """One run, in a thread of its own. `exchange` is the HTTP request that it plays for."""

    answering = ANSWERING | REMOTE_ANSWERING

    def __init__(
        self,
        stage: RemoteStage,
        arrived: Arrived,
        actions: list[Action],
        exchange: Exchange,
        output: OnStream,
        change_tools: Callable[[list[Json]], None],
    ) -> None:
        super().__init__(stage, arrived, actions)
        assert stage.session is not None
        self._session = stage.session
        self._ledger = stage.ledger
        self._exchange = exchange
        self._output = output
        self._change_tools = change_tools

    def play(self) -> None:
        """Play all actions; then the response is complete, unless it is to stay open."""
        super().play()
        stays = any(action["do"] in ("silence", "close_stdout") for action in self._actions)
        listens = self._arrived.id in self._session.listening and self._arrived.is_request
        if isinstance(self._output, Reply) and not stays and not listens:
            self._output.finish()

    def answer_as(self, form: str, content_type: str | None) -> None:
        assert isinstance(self._output, Reply), "answer_as is for Streamable HTTP"
        self._output.form = "sse" if form == "sse" else "json"
        self._output.content_type = content_type or self._output.content_type
        if content_type is not None and form == "sse":
            self._output.stream.headers["Content-Type"] = content_type

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
        for place in range(len(body)):
            if self._exchange.over.wait(pause):
                return
            self._exchange.write(body[place : place + 1])
        self._exchange.end()

    def stream(self, pieces: list[dict[str, Any]], pause: float) -> None:
        for number, piece in enumerate(pieces):
            if number and pause:
                time.sleep(pause)
            self._output.stream.raw(self._content(piece.get("text"), piece.get("base64")))

    def event(self, data: str | None, id: str | None, retry: int | None) -> None:
        if isinstance(self._output, Reply):
            self._output.form = "sse"
        self._output.stream.event(data, id, retry)

    def end_stream(self) -> None:
        if isinstance(self._output, Reply):
            self._output.form = "sse"
        self._output.stream.pause()

    def cut(self, reset: bool) -> None:
        self._exchange.cut(reset)

    def wire(self, text: str | None = None, base64: str | None = None) -> None:
        self._exchange.wire(self._content(text, base64))

    def expire_session(self) -> None:
        self._session.gone = True

    def push(self, method: str, params: Json | None) -> None:
        more = {} if params is None else {"params": params}
        self._session.announce({"jsonrpc": "2.0", "method": method, **more})

    def close_streams(self, reset: bool) -> None:
        for stream in list(self._session.streams):
            stream.exchange.cut(reset)

    def revoke_tokens(self, all_later: bool) -> None:
        assert self._ledger is not None, "revoke_tokens is for a script with oauth"
        self._ledger.revoke_access(all_later=all_later)

    def endpoint(self, uri: str) -> None:
        announce_endpoint(self._session, self._output.stream, uri)

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
            line = line_of(answer(self._arrived, self._stage.default_body(self._arrived)), self._arrived)
            text = text.replace("$answer", line.decode().removesuffix("\n"))
        return fill(
            text, self._arrived.id, slice_of(self._arrived.line or "{}", "params", "arguments") or "{}"
        ).encode()
