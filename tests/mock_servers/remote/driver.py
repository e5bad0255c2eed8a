"""Drives a mock behind a URL over plain HTTP, as a process. Every wait has a deadline."""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mock_servers import commands
from mock_servers.answers import CAPABILITIES_KEY, MODERN_VERSION, VERSION_KEY
from mock_servers.journal import Entry, read_journal
from mock_servers.script import Script

from ..driver import WITHIN, eventually

META = {VERSION_KEY: MODERN_VERSION, CAPABILITIES_KEY: {}}

Json = dict[str, Any]
Response = http.client.HTTPResponse


class RemoteMockDriver:
    """One running mock and one client."""

    def __init__(self, process: "subprocess.Popen[bytes]", journal: Path, url: str) -> None:
        self.process = process
        self.url = url
        self.session: dict[str, str] = {}
        self._journal = journal
        self._connections: list[http.client.HTTPConnection] = []

    def request(self, verb: str, target: str = "/mcp", body: Any = None, **headers: str) -> Response:
        """Send a request on a new connection and return its response, not yet read. In header names "_" stands for "-"."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=WITHIN)
        self._connections.append(connection)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(verb, target, data, {**self.session, **named})
        return connection.getresponse()

    def post(self, method: str, params: Json | None = None, id: int | None = 1, **headers: str) -> Response:
        """Post one message; it is a notification if `id` is None."""
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        return self.request("POST", body=message if id is None else {**message, "id": id}, **headers)

    def call(self, tool: str = "echo", id: int = 1, **headers: str) -> Response:
        """Call a tool."""
        return self.post("tools/call", {"name": tool, "arguments": {"x": "é"}}, id, **headers)

    def handshake(self) -> None:
        """Begin a session; later requests carry its id."""
        greeting = self.post("initialize", {"protocolVersion": "2025-11-25"})
        session = greeting.headers["Mcp-Session-Id"]
        self.session = {} if session is None else {"Mcp-Session-Id": session}
        assert json_of(greeting)["result"]["protocolVersion"] == "2025-11-25"
        assert self.post("notifications/initialized", id=None).status == 202

    def raw(self, data: bytes) -> socket.socket:
        """Open a connection and send these bytes."""
        parts = urlsplit(self.url)
        connection = socket.create_connection((parts.hostname, parts.port), timeout=WITHIN)
        connection.sendall(data)
        return connection

    def events(self, *names: str) -> list[Entry]:
        """The journal entries so far; with names, only those of these events."""
        return [entry for entry in read_journal(self._journal) if not names or entry.event in names]

    def wait_for(self, event: str, **data: Any) -> Entry:
        """Wait for an entry of this event with this data, and return the first one."""

        def found() -> list[Entry]:
            return [entry for entry in self.events(event) if data.items() <= entry.data.items()]

        entry = eventually(found, f"a journal entry {event} with {data}")[0]
        assert isinstance(entry, Entry)
        return entry

    def close(self) -> None:
        """Close all connections of the client."""
        for connection in self._connections:
            connection.close()


def json_of(response: Response) -> Json:
    """The JSON body of a response, or the message in the last event of a stream."""
    message = json.loads(response.read().rpartition(b"data: ")[2])
    assert isinstance(message, dict)
    return message


def event_of(response: Response) -> dict[str, str]:
    """The next event of a stream, with one data line; empty at the end of the stream."""
    fields: dict[str, str] = {}
    while line := response.readline().decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


@contextmanager
def remote(
    folder: Path, kind: commands.RemoteKind, script: Script | None = None, *options: str
) -> Iterator[RemoteMockDriver]:
    """Run a mock. The end of the block kills it."""
    journal = folder / "journal.jsonl"
    (script or Script()).save(folder / "script.json")
    command = [*commands.remote(kind, folder, max_life=60), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            mock = RemoteMockDriver(process, journal, json.loads(process.stdout.readline())["url"])
            try:
                yield mock
            finally:
                mock.close()
        finally:
            process.kill()
