"""What a mock saw, read from its journal at the moment of the question.

`Seen` is for every mock, `StdioSeen`, `RemoteSeen` and `ProtectedSeen` add what belongs to their kind. They are mixed
into whatever stands for a mock (here `mock_servers.running`) and need nothing of it but its `folder`.
"""

import json
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from mock_servers.commands import JOURNAL
from mock_servers.journal import Entry, read_journal
from mock_servers.processes import alive


@dataclass(frozen=True)
class Start:
    """One start of a stdio mock: its arguments after `--`, environment, directory, place among the processes and limits."""

    t: float
    pid: int
    args: list[str]
    env: dict[str, str]
    cwd: str
    ppid: int
    pgid: int | None
    sid: int | None
    fds: dict[str, str]
    #: soft and hard, by name (`journal.resource_limits`)
    limits: dict[str, list[int]]

    @staticmethod
    def of(entry: Entry) -> "Start":
        data = entry.data
        place = data["ppid"], data["pgid"], data["sid"], data["fds"], data["limits"]
        return Start(entry.t, entry.pid, data["args"], data["env"], data["cwd"], *place)


@dataclass(frozen=True)
class Request:
    """A JSON-RPC request (or notification) that reached a mock; `text` is the line or body as it came."""

    t: float
    pid: int
    message: dict[str, Any]
    text: str

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def params(self) -> Any:
        return self.message.get("params")


class Seen:
    """The journal of one mock."""

    #: the events that hold messages
    arrivals: ClassVar[tuple[str, ...]] = ("line",)

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def entries(self) -> list[Entry]:
        """The whole journal so far."""
        return read_journal(self.journal)

    @property
    def pids(self) -> list[int]:
        """Every process that ever wrote into the journal, grandchildren included."""
        return sorted({entry.pid for entry in self.entries})

    @property
    def alive(self) -> list[int]:
        """Those of `pids` that live, by its command line, so that a reused pid is nobody; a zombie is dead."""
        return alive(self.pids, str(self.journal))

    def events(self, event: str) -> list[Entry]:
        """The entries of one kind, see `mock_servers.journal.Entry`."""
        return [entry for entry in self.entries if entry.event == event]

    def requests(self, method: str) -> list[Request]:
        """The messages with this method that the mock has read."""
        arrived = [entry for entry in self.entries if entry.event in self.arrivals]
        messages = [Request(entry.t, entry.pid, entry.message or {}, entry.text) for entry in arrived]
        return [request for request in messages if request.message.get("method") == method]


class StdioSeen(Seen):
    """Of a server on stdin and stdout."""

    @property
    def starts(self) -> list[Start]:
        return [Start.of(entry) for entry in self.events("start")]

    @property
    def lines(self) -> list[str]:
        """Every line that it has read."""
        return [entry.text for entry in self.events("line")]


@dataclass(frozen=True, repr=False)
class HttpRequest:
    """One HTTP request that reached a mock. Times are monotonic seconds; `headers` are the pairs exactly as sent."""

    t: float
    n: int
    connection: int
    method: str
    #: path and query
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    #: what it was answered with; None = not yet, or with no proper response
    status: int | None
    ended: float | None
    #: "server", "client" (it went away first) or "cut" (the script broke the connection)
    ended_by: str | None

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header, several as one list (RFC 9110, section 5.3); None = absent."""
        return ", ".join(self.values(name)) if self.values(name) else None

    @property
    def message(self) -> Any:
        """The JSON value of the body; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def rpc(self) -> str | None:
        """The JSON-RPC method in the body."""
        method = self.message.get("method") if isinstance(self.message, dict) else None
        return method if isinstance(method, str) else None

    @property
    def is_probe(self) -> bool:
        """Whether it only asks for the modern era, which says nothing about the conversation itself."""
        return self.rpc == "server/discover"

    def __repr__(self) -> str:
        return (
            f"#{self.n} {self.method} {self.target} {self.rpc or ''} -> {self.status}, headers {self.headers}"
        )


class RemoteSeen(Seen):
    """Of a server behind a URL."""

    arrivals: ClassVar[tuple[str, ...]] = ("http-request",)
    request_type: ClassVar[type[HttpRequest]] = HttpRequest

    @property
    def http(self) -> list[HttpRequest]:
        """Every HTTP request so far, in the order of arrival."""
        entries = self.entries
        status = {
            entry.data["n"]: entry.data["status"] for entry in entries if entry.event == "http-response"
        }
        ends = {entry.data["n"]: entry for entry in entries if entry.event == "http-end"}
        arrived = [entry for entry in entries if entry.event == "http-request"]
        return [
            self._http_request(entry, status.get(entry.data["n"]), ends.get(entry.data["n"]))
            for entry in arrived
        ]

    def _http_request(self, entry: Entry, status: int | None, end: Entry | None) -> HttpRequest:
        data = entry.data
        body = b64decode(data["base64"]) if "base64" in data else entry.text.encode()
        headers = [(name, value) for name, value in data["headers"]]
        ended = (None, None) if end is None else (end.t, end.data["by"])
        place = data["n"], data["connection"], data["method"], data["target"]
        return self.request_type(entry.t, *place, headers, body, status, *ended)

    def posts(self, method: str | None = None) -> list[HttpRequest]:
        """The POSTs that are no probes, of this JSON-RPC method if named."""
        posts = [request for request in self.http if request.method == "POST" and not request.is_probe]
        return [request for request in posts if method in (None, request.rpc)]

    @property
    def sessions(self) -> list[str]:
        """The session ids that were assigned, in order."""
        headers = (dict(entry.data["headers"]) for entry in self.events("http-response"))
        assigned = (sent["Mcp-Session-Id"] for sent in headers if "Mcp-Session-Id" in sent)
        return list(dict.fromkeys(assigned))

    @property
    def streams(self) -> list[HttpRequest]:
        """The GETs that were answered with a stream."""
        return [request for request in self.http if request.method == "GET" and request.status == 200]

    @property
    def verbs(self) -> "Counter[str]":
        """How often each HTTP method was used, probes left out."""
        return Counter(request.method for request in self.http if not request.is_probe)


@dataclass(frozen=True, repr=False)
class Asked:
    """One request to an endpoint of the authorization server.

    `pairs` are its parameters as decoded; a registration has its JSON in `document`. `problem` is why it was
    refused, None = it was not; `issued` what it brought.
    """

    t: float
    n: int
    pairs: list[tuple[str, str]]
    document: Any
    problem: str | None
    issued: dict[str, Any]

    @staticmethod
    def of(entry: Entry) -> "Asked":
        data = entry.data
        params = data["params"]
        pairs = [(name, value) for name, value in params] if isinstance(params, list) else []
        document = None if isinstance(params, list) else params
        return Asked(entry.t, data["n"], pairs, document, data["problem"], data["issued"])

    @property
    def params(self) -> dict[str, str]:
        return dict(self.pairs)

    def __repr__(self) -> str:
        return f"{self.document or self.pairs} -> {self.problem or 'granted'}"


class ProtectedSeen(RemoteSeen):
    """Of a server that wants a bearer, and of its authorization server. `http` is every request to both, in order of
    arrival.
    """

    url: str

    @property
    def mcp(self) -> list[HttpRequest]:
        """The requests to the MCP URL."""
        return [request for request in self.http if self._place_of(request) == self.url]

    @property
    def elsewhere(self) -> list[str]:
        """All other URLs that were asked for, in order, without their queries."""
        places = [self._place_of(request) for request in self.http]
        return [place for place in places if place != self.url]

    def _place_of(self, request: HttpRequest) -> str:
        return f"{urlsplit(self.url).scheme}://{request.header('Host')}{request.target.partition('?')[0]}"

    @property
    def authorizations(self) -> list[Asked]:
        """The requests of browsers to the authorization endpoint."""
        return self._asked("authorize")

    @property
    def token_requests(self) -> list[Asked]:
        """The requests to the token endpoint."""
        return self._asked("token")

    @property
    def exchanges(self) -> list[Asked]:
        """Those that bring a code."""
        return self._with_grant("authorization_code")

    @property
    def refreshes(self) -> list[Asked]:
        """Those that bring a refresh token."""
        return self._with_grant("refresh_token")

    @property
    def registrations(self) -> list[Asked]:
        return self._asked("register")

    @property
    def access_tokens(self) -> list[str]:
        """Every access token that was issued, in order."""
        return self._issued("access_token")

    @property
    def refresh_tokens(self) -> list[str]:
        """Every refresh token that was issued, in order."""
        return self._issued("refresh_token")

    def bearer(self, request: HttpRequest) -> str | None:
        """The token that a request carries."""
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    @property
    def bearers(self) -> list[str]:
        """The tokens of all requests to the MCP URL that carry one, in order."""
        return [token for request in self.mcp if (token := self.bearer(request)) is not None]

    def _asked(self, event: str) -> list[Asked]:
        return [Asked.of(entry) for entry in self.events(event)]

    def _with_grant(self, grant: str) -> list[Asked]:
        return [asked for asked in self.token_requests if asked.params.get("grant_type") == grant]

    def _issued(self, member: str) -> list[str]:
        return [asked.issued[member] for asked in self.token_requests if member in asked.issued]
