"""One HTTP request and its response, which any thread can write, in pieces or against the rules of HTTP.

The exchange journals everything before it leaves. It drops data after its end, and after the client has disconnected;
`over` is set then.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from mock_servers.journal import Journal
from mock_servers.remote.listener import Connection

_numbers = itertools.count(1)


class HttpExchange:
    """A request, and its response as an ASGI application. `HttpExchange.received` makes one."""

    def __init__(self, request: Request, body: bytes, journal: Journal) -> None:
        self.n = next(_numbers)
        self.body = body
        self.connection: Connection = request.scope["state"]["connection"]
        self.head = self.connection.head
        self.target = self.connection.target
        self.verb = request.method
        self.query = request.query_params
        self.journal = journal
        self.started = False
        self.over = threading.Event()
        self.on_end: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._lock = threading.Lock()

    @classmethod
    async def received(cls, request: Request, journal: Journal) -> "HttpExchange":
        """Read the body of a request, journal the request, and return its exchange."""
        exchange = cls(request, await request.body(), journal)
        journal.write_received(
            "http-request",
            exchange.body,
            n=exchange.n,
            connection=exchange.connection.number,
            method=exchange.verb,
            target=exchange.target,
            headers=exchange.head,
        )
        return exchange

    def header(self, name: str) -> str | None:
        """The value of a header field; the first one if the field is repeated."""
        return next((value for key, value in self.head if key.lower() == name.lower()), None)

    # Writing, from any thread

    def start(self, status: int, headers: dict[str, str]) -> None:
        """Begin the response."""
        with self._lock:
            if self.started or self.over.is_set():
                return
            self.started = True
            self.journal.write("http-response", n=self.n, status=status, headers=list(headers.items()))
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
            self._put({"type": "http.response.start", "status": status, "headers": pairs})

    def write(self, data: bytes) -> None:
        """Send a piece of the body; it is a chunk of its own unless the headers have a Content-Length."""
        if data and not self.over.is_set():
            self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self) -> None:
        """Complete the response."""
        self._finish("server", {"type": "http.response.body", "body": b"", "more_body": False})

    def cut(self, reset: bool = False) -> None:
        """Break off: close or reset the connection."""
        self._finish("cut", {"type": "cut", "reset": reset})

    def wire(self, data: bytes) -> None:
        """Write these bytes to the connection itself, then close it."""
        self.journal.write_received("http-body", data, n=self.n)
        self._finish("cut", {"type": "cut", "reset": False, "before": data})

    def respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send a whole response."""
        self.start(status, {**(headers or {}), "Content-Length": str(len(body))})
        self.write(body)
        self.end()

    def _finish(self, by: str, step: dict[str, Any]) -> None:
        with self._lock:
            if self.over.is_set():
                return
            self.over.set()
        # Before the journal entry and the end itself: a test that observes the end must find the exchange unregistered.
        self.on_end()
        self.journal.write("http-end", n=self.n, by=by)
        self._put(step)

    def _put(self, step: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._steps.put_nowait, step)

    # The ASGI application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the steps as the threads add them, until the response ends or the client disconnects."""
        watching = asyncio.ensure_future(self._watch(receive))
        try:
            while True:
                step = await self._steps.get()
                if step["type"] == "gone":
                    return
                if step["type"] == "cut":
                    self.connection.transport.write(step.get("before", b""))
                    self.connection.cut(step["reset"])
                    await watching
                    return
                await send(step)
                if step["type"] == "http.response.body" and not step["more_body"]:
                    return
        finally:
            watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._finish("client", {"type": "gone"})


def respond_json(
    exchange: HttpExchange, status: int, document: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    """Send a whole response with a JSON body."""
    body = json.dumps(document).encode()
    exchange.respond(status, body, {"Content-Type": "application/json", **(headers or {})})
