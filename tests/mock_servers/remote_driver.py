"""A remote mock as a process, asked over plain HTTP; every wait has a deadline."""

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

from .driver import WITHIN, eventually

META = {VERSION_KEY: MODERN_VERSION, CAPABILITIES_KEY: {}}

Json = dict[str, Any]
Response = http.client.HTTPResponse


class Remote:
    """One running mock and one client of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", journal: Path, url: str) -> None:
        self.process = process
        self.url = url
        self.session: dict[str, str] = {}
        self._journal = journal
        self._connections: list[http.client.HTTPConnection] = []

    def request(self, verb: str, target: str = "/mcp", body: Any = None, **headers: str) -> Response:
        """Any request on a connection of its own; its response, not yet read. In the names of headers "_"
        stands for "-"."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=WITHIN)
        self._connections.append(connection)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(verb, target, data, {**self.session, **named})
        return connection.getresponse()

    def post(self, method: str, params: Json | None = None, id: int | None = 1, **headers: str) -> Response:
        """One message; `id` None = a notification."""
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        return self.request("POST", body=message if id is None else {**message, "id": id}, **headers)

    def call(self, tool: str = "echo", id: int = 1, **headers: str) -> Response:
        """Call a tool."""
        return self.post("tools/call", {"name": tool, "arguments": {"x": "é"}}, id, **headers)

    def handshake(self) -> None:
        """Begin a session and carry its id from now on."""
        greeting = self.post("initialize", {"protocolVersion": "2025-11-25"})
        session = greeting.headers["Mcp-Session-Id"]
        self.session = {} if session is None else {"Mcp-Session-Id": session}
        assert json_of(greeting)["result"]["protocolVersion"] == "2025-11-25"
        assert self.post("notifications/initialized", id=None).status == 202

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        parts = urlsplit(self.url)
        connection = socket.create_connection((parts.hostname, parts.port), timeout=WITHIN)
        connection.sendall(data)
        return connection

    def events(self, *names: str) -> list[Entry]:
        """Journal entries so far, of these events if named."""
        return [entry for entry in read_journal(self._journal) if not names or entry.event in names]

    def wait_for(self, event: str, **data: Any) -> Entry:
        """The first entry of this event with these data, waited for."""

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
    """The next event of a stream, of one data line; empty at its end."""
    fields: dict[str, str] = {}
    while line := response.readline().decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


@contextmanager
def remote(
    folder: Path, kind: commands.RemoteKind, script: Script | None = None, *options: str
) -> Iterator[Remote]:
    """A mock that is ended at the end."""
    journal = folder / "journal.jsonl"
    (script or Script()).save(folder / "script.json")
    command = [*commands.remote(kind, folder, max_life=60), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            mock = Remote(process, journal, json.loads(process.stdout.readline())["url"])
            try:
                yield mock
            finally:
                mock.close()
        finally:
            process.kill()
