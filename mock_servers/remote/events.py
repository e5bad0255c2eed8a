"""An event stream as a place for messages: one event each, with ids and a replay where the script wants them."""

import itertools
import threading

from mock_servers.remote.exchange import Exchange
from mock_servers.script import Http

HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform"}


def encode_event(
    data: str | None = "", *, name: str | None = None, id: str | None = None, retry: int | None = None
) -> bytes:
    """One event; `data` None = no data field."""
    fields = [("event", name), ("id", id), ("retry", None if retry is None else str(retry))]
    lines = [f"{field}: {value}" for field, value in fields if value is not None]
    lines += [] if data is None else [f"data: {line}" for line in data.split("\n")]
    return "\n".join([*lines, "", ""]).encode()


class EventStream:
    """The events of one request, in whatever responses they go out. A stream that was ended goes on in the
    response that it is resumed in."""

    def __init__(self, name: str, http: Http, exchange: Exchange, headers: dict[str, str]) -> None:
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
    def exchange(self) -> Exchange:
        """The response that the stream goes out in at present."""
        return self._exchange

    def open(self) -> None:
        """Begin the first response."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            self._exchange.start(200, self.headers)
            if self._http.priming:
                self.event("", retry=self._http.retry)

    def message(self, text: str) -> None:
        """A message, as an event."""
        with self._lock:
            self.open()
            number = self._next_id()
            self._exchange.journal.write_sent(text.encode(), n=self._exchange.n)
            self._send(number, encode_event(text, name="message", id=number))

    def event(self, data: str | None, id: str | None = None, retry: int | None = None) -> None:
        """An event that is no message."""
        with self._lock:
            self.open()
            number = id or self._next_id()
            self.raw(encode_event(data, id=number, retry=retry), number)

    def raw(self, data: bytes, number: str | None = None) -> None:
        """These bytes."""
        with self._lock:
            self.open()
            self._exchange.journal.write_received("http-body", data, n=self._exchange.n)
            self._send(number, data)

    def pause(self) -> None:
        """End the response; more may come on a resumed one."""
        self.open()
        self._exchange.end()

    def finish(self) -> None:
        """Nothing more will come."""
        with self._lock:
            self._complete = True
            if self._opened:
                self._exchange.end()

    def has_sent(self, number: str) -> bool:
        """Was there an event with this id?"""
        return any(number == known for known, _ in self._log)

    def resume(self, exchange: Exchange, last: str) -> None:
        """Go on in this response, after the event with the id `last`."""
        with self._lock:
            self._exchange = exchange
            exchange.start(200, self.headers)
            known = [number for number, _ in self._log]
            for _, data in self._log[known.index(last) + 1 :]:
                exchange.write(data)
            if self._complete:
                exchange.end()

    def _next_id(self) -> str | None:
        wanted = self._http.event_ids or self._http.priming
        return f"{self._name}-{next(self._numbers)}" if wanted else None

    def _send(self, number: str | None, data: bytes) -> None:
        if number is not None:
            self._log.append((number, data))
        self._exchange.write(data)
