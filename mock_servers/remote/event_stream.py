"""An event stream: one event for each message, with ids and replay if the script asks for them."""

import itertools
import threading

from mock_servers.remote.exchange import HttpExchange
from mock_servers.script import Http

HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform"}


def encode_event(
    data: str | None = "", *, name: str | None = None, id: str | None = None, retry: int | None = None
) -> bytes:
    """The bytes of one event; it has no data field if `data` is None."""
    fields = [("event", name), ("id", id), ("retry", None if retry is None else str(retry))]
    lines = [f"{field}: {value}" for field, value in fields if value is not None]
    lines += [] if data is None else [f"data: {line}" for line in data.split("\n")]
    return "\n".join([*lines, "", ""]).encode()


class EventStream:
    """The events that answer one request. When a client resumes the stream, its next events go into the new response."""

    def __init__(self, name: str, http: Http, exchange: HttpExchange, headers: dict[str, str]) -> None:
        self._name = name
        self._http = http
        self._exchange = exchange
        self.headers = {**HEADERS, **headers}
        self._numbers = itertools.count(1)
        self._log: list[tuple[str, bytes]] = []
        self._lock = threading.RLock()
        self._opened = False
        self._complete = False

    @property
    def exchange(self) -> HttpExchange:
        """The HTTP exchange whose response carries the stream now."""
        return self._exchange

    def open(self) -> None:
        """Begin the first response, unless it has begun."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            self._start()
            if self._http.priming:
                self.event("", retry=self._http.retry)

    def message(self, text: str) -> None:
        """Send a message as an event."""
        with self._lock:
            self.open()
            event_id = self._next_id()
            self._exchange.journal.write_sent(text.encode(), n=self._exchange.n)
            self._send(event_id, encode_event(text, name="message", id=event_id))

    def event(self, data: str | None, id: str | None = None, retry: int | None = None) -> None:
        """Send an event that is not a message."""
        with self._lock:
            self.open()
            event_id = id or self._next_id()
            self.raw(encode_event(data, id=event_id, retry=retry), event_id)

    def raw(self, data: bytes, event_id: str | None = None) -> None:
        """Send exactly these bytes."""
        with self._lock:
            self.open()
            self._exchange.journal.write_received("http-body", data, n=self._exchange.n)
            self._send(event_id, data)

    def unrecorded(self, data: bytes) -> None:
        """Send bytes that the journal does not keep."""
        with self._lock:
            self.open()
            self._exchange.write(data)

    def pause(self) -> None:
        """End the response. A resumed stream can carry more."""
        self.open()
        self._exchange.end()

    def finish(self) -> None:
        """End the stream for good."""
        with self._lock:
            self._complete = True
            if self._opened:
                self._exchange.end()

    def has_sent(self, event_id: str) -> bool:
        """Whether the stream has sent an event with this id."""
        return any(event_id == known for known, _ in self._log)

    def resume(self, exchange: HttpExchange, last: str) -> None:
        """Continue in this exchange's response, after the event with the id `last`."""
        with self._lock:
            self._exchange = exchange
            self._start()
            known = [event_id for event_id, _ in self._log]
            for _, data in self._log[known.index(last) + 1 :]:
                exchange.write(data)
            if self._complete:
                exchange.end()

    def _start(self) -> None:
        """Begin a response, which has a limit of time if the script says so."""
        self._exchange.start(200, self.headers)
        if self._http.stream_limit is not None:
            limit = threading.Timer(self._http.stream_limit, self._exchange.end)
            limit.daemon = True
            limit.start()

    def _next_id(self) -> str | None:
        has_ids = self._http.event_ids or self._http.priming
        return f"{self._name}-{next(self._numbers)}" if has_ids else None

    def _send(self, event_id: str | None, data: bytes) -> None:
        if event_id is not None:
            self._log.append((event_id, data))
        self._exchange.write(data)
