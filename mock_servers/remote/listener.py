"""Serves an application on 127.0.0.1 or another address, journals every connection, and ends with stdin or at SIGTERM.

The listener keeps the bytes of a request's head as they arrived; uvicorn alone would give header names in lower case. The
application can reach the connection itself, to break it or to write data that is not HTTP.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle

_MAX_HEAD = 1 << 20
_IDLE = 120


@dataclass(frozen=True)
class ListenAddress:
    """An address to listen on. Port 0 means any free port; a certificate means TLS."""

    port: int = 0
    tls_cert: str | None = None
    tls_key: str | None = None
    host: str = "127.0.0.1"

    @property
    def scheme(self) -> str:
        return "http" if self.tls_cert is None else "https"

    def bind(self, extra_ports: int = 0) -> "list[socket.socket]":
        """Listen on the port, and on `extra_ports` free ones."""
        ports = [self.port, *[0] * extra_ports]
        return [socket.create_server((self.host, port), backlog=256) for port in ports]

    def origin(self, listener: "socket.socket") -> str:
        """The origin of a listening socket."""
        return f"{self.scheme}://{self.host}:{listener.getsockname()[1]}"


def listen(
    app: Starlette,
    listeners: list[socket.socket],
    address: ListenAddress,
    urls: dict[str, str],
    journal: Journal,
    lifecycle: Lifecycle,
) -> None:
    """Serve until the process ends. The first line on stdout is `urls`, a JSON object with the `url`."""
    config = uvicorn.Config(
        app,
        http=_connection_type(journal),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_IDLE,
        h11_max_incomplete_event_size=_MAX_HEAD,
        ssl_certfile=address.tls_cert,
        ssl_keyfile=address.tls_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.sni_callback = lambda _socket, name, _context: journal.write("tls-hello", name=name)
    journal.write("listening", **urls)
    sys.stdout.write(json.dumps(urls) + "\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_stdin, args=(journal, lifecycle), daemon=True).start()
    asyncio.run(_UvicornServer(config).serve(sockets=listeners))


def _end_with_stdin(journal: Journal, lifecycle: Lifecycle) -> None:
    while os.read(0, 1 << 16):
        pass
    journal.write("eof")
    lifecycle.exit(0, "eof")


class _UvicornServer(uvicorn.Server):
    """Does not handle signals; `Lifecycle` does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _HeadRecordingParser(h11.Connection):
    """Keeps the head of a request as it arrived."""

    target: str
    head: list[tuple[str, str]]

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            pairs = event.headers.raw_items()
            self.target = event.target.decode("latin-1")
            self.head = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        return event


class Connection(H11Protocol):
    """One connection, which its requests find in `scope["state"]["connection"]`."""

    journal: Journal
    numbers: "itertools.count[int]"

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.number = 0
        self.conn = self.parser = _HeadRecordingParser(h11.SERVER, _MAX_HEAD)
        self.app_state = {"connection": self}

    @property
    def target(self) -> str:
        """Path and query of the current request, as sent."""
        return self.parser.target

    @property
    def head(self) -> list[tuple[str, str]]:
        """The header fields of the current request, with names and repetitions as sent."""
        return self.parser.head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.number = next(self.numbers)
        self.journal.write("connection", connection=self.number)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.journal.write("disconnect", connection=self.number, problem=None if exc is None else repr(exc))
        super().connection_lost(exc)

    def cut(self, reset: bool = False) -> None:
        """Close the connection after the data so far, or reset it; the response can be incomplete."""
        if not reset:
            self.transport.close()
            return
        own: socket.socket | None = self.transport.get_extra_info("socket")
        if own is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _connection_type(journal: Journal) -> type[Connection]:
    return type("_Recording", (Connection,), {"journal": journal, "numbers": itertools.count(1)})
