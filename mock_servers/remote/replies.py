"""Where the messages of a performance go over HTTP: into a JSON body, onto an event stream, or a bit of both."""

import itertools
import json
import time
from typing import Any, Literal

from mock_servers.answers import METHOD_NOT_FOUND
from mock_servers.player import Arrived
from mock_servers.remote.events import EventStream, encode_event
from mock_servers.remote.exchange import Exchange
from mock_servers.script import Http

#: HTTP statuses of JSON-RPC errors in the modern era; the others go with 200
MODERN_STATUS = {
    METHOD_NOT_FOUND: 404,
    **dict.fromkeys((-32700, -32600, -32602, -32020, -32021, -32022), 400),
}


class OnStream:
    """Every message is an event."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """One message, or whatever else a script wants to send in its place."""
        text = b"".join(pieces).decode(errors="replace").removesuffix("\n")
        if _parsed(text) is None:
            self.stream.raw(b"".join(pieces))
        elif len(pieces) == 1:
            self.stream.message(text)
        else:
            _slowly(self.stream.raw, encode_event(text, name="message"), pieces, pause)

    def close(self) -> None:
        """Break the connection."""
        self.stream.exchange.cut()


class Reply(OnStream):
    """The response to one POST: JSON, or a stream as soon as something other than an answer goes first."""

    def __init__(self, exchange: Exchange, stream: EventStream, http: Http, headers: dict[str, str]) -> None:
        super().__init__(stream)
        self.form: Literal["json", "sse"] = http.answers
        self.content_type = "application/json"
        self.arrived: Arrived | None = None
        self.modern = False
        self._http = http
        self._exchange = exchange
        self._headers = headers

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """One message, or whatever else a script wants to send in its place."""
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
        _slowly(self._exchange.write, body, pieces, pause)
        self._exchange.end()

    def finish(self) -> None:
        """The performance is over: a stream ends, a notification is confirmed."""
        self.stream.finish()
        if self.arrived is not None and not self.arrived.is_request and not self._exchange.started:
            self.confirm()

    def confirm(self) -> None:
        """Take note of a notification or an answer."""
        body = self._http.accepted_body.encode()
        self._exchange.respond(self._http.accepted, body, self._headers)

    def _status(self, message: Any) -> int:
        error = message.get("error") if isinstance(message, dict) else None
        if not isinstance(error, dict):
            return 200
        if self.modern:
            return MODERN_STATUS.get(error.get("code", 0), 200)
        return 400 if self.arrived is not None and self.arrived.refusal is not None else 200


def _parsed(text: str) -> Any:
    """The message in a text; None when there is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _slowly(write: Any, data: bytes, pieces: list[bytes], pause: float) -> None:
    """Write `data` cut where the pieces are, each in a chunk of its own."""
    ends = [0, *itertools.accumulate(map(len, pieces[:-1])), len(data)]
    for start, end in itertools.pairwise(ends):
        if start and pause:
            time.sleep(pause)
        write(data[start:end])
