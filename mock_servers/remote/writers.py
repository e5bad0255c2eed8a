"""Where a player's messages go over HTTP: onto an event stream, or into the response to a POST."""

import itertools
import json
import time
from typing import Any, Literal

from mock_servers.answers import METHOD_NOT_FOUND
from mock_servers.player import ReceivedMessage
from mock_servers.remote.event_stream import EventStream, encode_event
from mock_servers.remote.exchange import HttpExchange
from mock_servers.script import Http

#: HTTP statuses of JSON-RPC errors in the modern era; other errors have status 200
MODERN_STATUS = {
    METHOD_NOT_FOUND: 404,
    **dict.fromkeys((-32700, -32600, -32602, -32020, -32021, -32022), 400),
}


class NullWriter:
    """Drops everything. The state outside any exchange has it, because its messages go to sessions instead."""

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Do nothing."""

    def write_unrecorded(self, data: bytes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class StreamWriter:
    """Writes every message as an event."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces of one message, or of arbitrary data in its place, `pause` seconds apart."""
        text = b"".join(pieces).decode(errors="replace").removesuffix("\n")
        if _parsed(text) is None:
            self.stream.raw(b"".join(pieces))
        elif len(pieces) == 1:
            self.stream.message(text)
        else:
            _write_in_pieces(self.stream.raw, encode_event(text, name="message"), pieces, pause)

    def write_unrecorded(self, data: bytes) -> None:
        """Write data that the journal does not keep onto the stream."""
        self.stream.unrecorded(data)

    def close(self) -> None:
        """Break the connection."""
        self.stream.exchange.cut()


class PostResponseWriter(StreamWriter):
    """The response to one POST: JSON, or a stream if another message goes before the answer."""

    def __init__(
        self, exchange: HttpExchange, stream: EventStream, http: Http, headers: dict[str, str]
    ) -> None:
        super().__init__(stream)
        self.form: Literal["json", "sse"] = http.answers
        self.content_type = "application/json"
        self.received: ReceivedMessage | None = None
        self.modern = False
        self._http = http
        self._exchange = exchange
        self._headers = headers

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces of one message, or of arbitrary data in its place, `pause` seconds apart."""
        message = _parsed(b"".join(pieces).decode(errors="replace"))
        status = self._status(message)
        if isinstance(message, dict) and "method" in message and not self._exchange.started:
            self.form = "sse"
        if self.form == "sse" and status == 200:
            super().write(pieces, pause)
            return
        body = b"".join(pieces).removesuffix(b"\n")
        length = {"Content-Length": str(len(body))} if len(pieces) == 1 else {}
        self._exchange.start(status, {**self._headers, "Content-Type": self.content_type, **length})
        self._exchange.journal.write_sent(body, n=self._exchange.n)
        _write_in_pieces(self._exchange.write, body, pieces, pause)
        self._exchange.end()

    def finish(self) -> None:
        """After the last action: end the stream, and confirm a notification."""
        self.stream.finish()
        if self.received is not None and not self.received.is_request and not self._exchange.started:
            self.confirm()

    def confirm(self) -> None:
        """Confirm a notification or an answer of the client."""
        body = self._http.accepted_body.encode()
        self._exchange.respond(self._http.accepted, body, self._headers)

    def _status(self, message: Any) -> int:
        error = message.get("error") if isinstance(message, dict) else None
        if not isinstance(error, dict):
            return 200
        if self.modern:
            return MODERN_STATUS.get(error.get("code", 0), 200)
        return 400 if self.received is not None and self.received.refusal is not None else 200


def _parsed(text: str) -> Any:
    """The message in a text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _write_in_pieces(write: Any, data: bytes, pieces: list[bytes], pause: float) -> None:
    """Write `data` in chunks as long as the pieces, `pause` seconds apart; the last chunk takes the rest."""
    ends = [0, *itertools.accumulate(map(len, pieces[:-1])), len(data)]
    for start, end in itertools.pairwise(ends):
        if start and pause:
            time.sleep(pause)
        write(data[start:end])
