"""Views of a mock's journal: typed questions about what the mock saw, which read the file anew each time.

`JournalView` serves every mock. `StdioJournalView`, `RemoteJournalView` and `ProtectedJournalView` add the questions
for their kind. They are mix-ins for classes that represent a mock, as in `mock_servers.running`, and need its `folder`.
"""

import json
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from mock_servers.commands import JOURNAL
from mock_servers.journal import Entry, read_journal
from mock_servers.processes import alive

#: the well-known documents of a sign-in
OAUTH_DOCUMENTS = ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")


@dataclass(frozen=True)
class Start:
    """One start of a stdio mock: its arguments after `--`, environment, working directory, process ids and limits."""

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
        process = data["ppid"], data["pgid"], data["sid"], data["fds"], data["limits"]
        return Start(entry.t, entry.pid, data["args"], data["env"], data["cwd"], *process)


@dataclass(frozen=True)
class Request:
    """A JSON-RPC request or notification that reached a mock; `text` is the line or body as it arrived."""

    t: float = field(repr=False)
    pid: int = field(repr=False)
    message: dict[str, Any] = field(repr=False)
    text: str

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def params(self) -> Any:
        return self.message.get("params")

    def param(self, name: str) -> Any:
        """The member of the params with this name; None if there is none."""
        return self.params.get(name) if isinstance(self.params, dict) else None


class JournalView:
    """The journal of one mock."""

    #: the events that hold received messages
    arrivals: ClassVar[tuple[str, ...]] = ("line",)

    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def mark(self) -> str:
        """What only the command lines of this mock's processes contain."""
        return str(self.journal)

    @property
    def entries(self) -> list[Entry]:
        """The whole journal so far."""
        return read_journal(self.journal)

    @property
    def pids(self) -> list[int]:
        """Every process that has written to the journal, grandchildren included."""
        return sorted({entry.pid for entry in self.entries})

    @property
    def alive(self) -> list[int]:
        """The processes of `pids` that still run. The command line must match too, because the system can reuse a pid.
        A zombie counts as dead.
        """
        return alive(self.pids, self.mark)

    def events(self, event: str) -> list[Entry]:
        """The entries with this `event`; `mock_servers.journal.Entry` lists the events."""
        return [entry for entry in self.entries if entry.event == event]

    def requests(self, method: str) -> list[Request]:
        """The messages with this method that reached the mock."""
        arrived = [entry for entry in self.entries if entry.event in self.arrivals]
        messages = [Request(entry.t, entry.pid, entry.message or {}, entry.text) for entry in arrived]
        return [request for request in messages if request.message.get("method") == method]


class StdioJournalView(JournalView):
    """The journal of a server on stdin and stdout."""

    @property
    def starts(self) -> list[Start]:
        return [Start.of(entry) for entry in self.events("start")]

    @property
    def lines(self) -> list[str]:
        """Every line that the server has read."""
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
    #: the status of the response; None if there is none yet, or none that is HTTP
    status: int | None
    ended: float | None
    #: "server", "client" (the client disconnected first) or "cut" (the script broke the connection)
    ended_by: str | None

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header, several joined as one list (RFC 9110, section 5.3); None if there is none."""
        return ", ".join(self.values(name)) if self.values(name) else None

    @property
    def message(self) -> Any:
        """The JSON value of the body; None if the body is not JSON."""
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
        """Whether the request only probes for the modern era. Such a request says nothing about the conversation."""
        return self.rpc == "server/discover"

    @property
    def is_look(self) -> bool:
        """Whether a client only looks: HEAD or OPTIONS, an icon, or a well-known document of another kind than those of OAuth."""
        path = self.target.partition("?")[0]
        if self.method in ("HEAD", "OPTIONS") or path.endswith(("/favicon.ico", "/robots.txt")):
            return True
        return "/.well-known/" in path and not any(f"/.well-known/{name}" in path for name in OAUTH_DOCUMENTS)

    @property
    def is_discovery(self) -> bool:
        """Whether it asks for a well-known document. A client can do that before it connects; no message reaches the server so."""
        return self.method == "GET" and "/.well-known/" in self.target

    @property
    def opens_stream(self) -> bool:
        """Whether this is a GET for a stream of events, and not one for a page."""
        return self.method == "GET" and "text/event-stream" in (self.header("Accept") or "")

    def __repr__(self) -> str:
        return (
            f"#{self.n} {self.method} {self.target} {self.rpc or ''} -> {self.status}, headers {self.headers}"
        )


class RemoteJournalView(JournalView):
    """The journal of a server behind a URL."""

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
        line = data["n"], data["connection"], data["method"], data["target"]
        return self.request_type(entry.t, *line, headers, body, status, *ended)

    def posts(self, method: str | None = None) -> list[HttpRequest]:
        """The POSTs without the probes; with `method`, those with this JSON-RPC method."""
        posts = [request for request in self.http if request.method == "POST" and not request.is_probe]
        return [request for request in posts if method in (None, request.rpc)]

    @property
    def sessions(self) -> list[str]:
        """The session ids that the server assigned, in order."""
        headers = (dict(entry.data["headers"]) for entry in self.events("http-response"))
        assigned = (sent["Mcp-Session-Id"] for sent in headers if "Mcp-Session-Id" in sent)
        return list(dict.fromkeys(assigned))

    @property
    def streams(self) -> list[HttpRequest]:
        """The GETs that the server answered with a stream."""
        return [request for request in self.http if request.method == "GET" and request.status == 200]

    @property
    def verbs(self) -> "Counter[str]":
        """The number of requests with each HTTP method, without the probes."""
        return Counter(request.method for request in self.http if not request.is_probe)


@dataclass(frozen=True, repr=False)
class OAuthRequest:
    """One request to an endpoint of the authorization server.

    `pairs` are its decoded parameters; a registration has its JSON in `document`. `problem` is the reason for a refusal,
    None for a granted request. `issued` holds what the server handed out.
    """

    t: float
    n: int
    pairs: list[tuple[str, str]]
    document: Any
    problem: str | None
    issued: dict[str, Any]

    @staticmethod
    def of(entry: Entry) -> "OAuthRequest":
        data = entry.data
        params = data["params"]
        pairs = [(name, value) for name, value in params] if isinstance(params, list) else []
        document = None if isinstance(params, list) else params
        return OAuthRequest(entry.t, data["n"], pairs, document, data["problem"], data["issued"])

    @property
    def params(self) -> dict[str, str]:
        return dict(self.pairs)

    def __repr__(self) -> str:
        return f"{self.document or self.pairs} -> {self.problem or 'granted'}"


class ProtectedJournalView(RemoteJournalView):
    """The journal of a server that requires a bearer token, and of its authorization server. `http` holds every request
    to both, in order of arrival.
    """

    url: str

    @property
    def mcp(self) -> list[HttpRequest]:
        """The requests to the MCP URL."""
        return [request for request in self.http if self._url_of(request) == self.url]

    @property
    def elsewhere(self) -> list[str]:
        """The other URLs of all requests except harmless looks, in order, without their queries."""
        urls = [self._url_of(request) for request in self.http if not request.is_look]
        return [url for url in urls if url != self.url]

    def _url_of(self, request: HttpRequest) -> str:
        return f"{urlsplit(self.url).scheme}://{request.header('Host')}{request.target.partition('?')[0]}"

    @property
    def authorizations(self) -> list[OAuthRequest]:
        """The requests of browsers to the authorization endpoint."""
        return self._oauth_requests("authorize")

    @property
    def token_requests(self) -> list[OAuthRequest]:
        """The requests to the token endpoint."""
        return self._oauth_requests("token")

    @property
    def exchanges(self) -> list[OAuthRequest]:
        """The token requests that bring an authorization code."""
        return self._with_grant("authorization_code")

    @property
    def refreshes(self) -> list[OAuthRequest]:
        """The token requests that bring a refresh token."""
        return self._with_grant("refresh_token")

    @property
    def machine_requests(self) -> list[OAuthRequest]:
        """The token requests of a client for itself."""
        return self._with_grant("client_credentials")

    @property
    def registrations(self) -> list[OAuthRequest]:
        return self._oauth_requests("register")

    @property
    def access_tokens(self) -> list[str]:
        """Every access token that the server issued, in order."""
        return self._issued("access_token")

    @property
    def refresh_tokens(self) -> list[str]:
        """Every refresh token that the server issued, in order."""
        return self._issued("refresh_token")

    def bearer(self, request: HttpRequest) -> str | None:
        """The bearer token of a request; None if it has none."""
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    @property
    def bearers(self) -> list[str]:
        """The bearer tokens of the requests to the MCP URL, in order."""
        return [token for request in self.mcp if (token := self.bearer(request)) is not None]

    def _oauth_requests(self, event: str) -> list[OAuthRequest]:
        return [OAuthRequest.of(entry) for entry in self.events(event)]

    def _with_grant(self, grant: str) -> list[OAuthRequest]:
        return [request for request in self.token_requests if request.params.get("grant_type") == grant]

    def _issued(self, member: str) -> list[str]:
        return [request.issued[member] for request in self.token_requests if member in request.issued]
