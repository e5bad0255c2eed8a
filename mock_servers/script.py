"""The description of a mock: a `Script`, which Python code builds and saves as JSON, and the mock loads.

A default `Script()` is a well-behaved server with the tools `echo` and `add`. Rules (`Rule`, `on_call`) with actions,
`startup` actions, and the fields for the shutdown add misbehaviour. Loading is strict: an unknown field, action or era
is a `ScriptError` that names it.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mock_servers.actions import (
    Action,
    allocate,
    close_stdin,
    close_stdout,
    compute,
    crash,
    duplicate_reply,
    error,
    fall_silent,
    flood,
    hand_over,
    hold,
    kill_self,
    kill_siblings,
    list_changed,
    notify,
    open_terminal,
    page,
    payload,
    progress,
    raw,
    read_again,
    release,
    reply,
    reply_in_chunks,
    request,
    send,
    set_prompts,
    set_resources,
    set_tools,
    silence,
    sleep,
    stderr,
    stop_reading,
    unending,
    wait_for_answer,
    wrong_id_reply,
)
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.script_loading import ScriptError, build, check_actions

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Action",
    "Era",
    "Fault",
    "Grandchild",
    "Http",
    "OAuth",
    "Rule",
    "Script",
    "ScriptError",
    "allocate",
    "close_stdin",
    "close_stdout",
    "compute",
    "crash",
    "default_tools",
    "duplicate_reply",
    "error",
    "fall_silent",
    "flood",
    "hand_over",
    "hold",
    "kill_self",
    "kill_siblings",
    "list_changed",
    "notify",
    "on_call",
    "open_terminal",
    "page",
    "payload",
    "progress",
    "raw",
    "read_again",
    "release",
    "reply",
    "reply_in_chunks",
    "request",
    "send",
    "set_prompts",
    "set_resources",
    "set_tools",
    "silence",
    "sleep",
    "stderr",
    "stop_reading",
    "tool",
    "unending",
    "wait_for_answer",
    "wrong_id_reply",
]

Era = Literal["legacy", "modern", "both"]


def tool(
    name: str, description: str = "", *, properties: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A tool with an object schema; `fields` (title, annotations, outputSchema, ...) become members unchanged."""
    schema = {"type": "object", "properties": properties or {}}
    return {"name": name, "description": description, "inputSchema": schema, **fields}


#: the arguments that `echo` declares, each of any type, because some clients and proxies drop or refuse undeclared ones
ECHO_ARGUMENTS = (
    "a",
    "b",
    "call",
    "case",
    "change",
    "crash",
    "group",
    "n",
    "number",
    "path",
    "deep",
    "real",
    "text",
    "word",
    "x",
)


def any_arguments(*names: str) -> dict[str, Any]:
    """The properties of a schema that declares arguments of these names and of any type."""
    return {name: {} for name in names}


def echo_tool() -> dict[str, Any]:
    """The definition of `echo`, which returns its arguments."""
    return tool("echo", "Return the arguments", properties=any_arguments(*ECHO_ARGUMENTS))


def default_tools() -> list[dict[str, Any]]:
    """`echo` returns its arguments, `add` the sum of the numbers `a` and `b`."""
    number = {"type": "number"}
    add = tool("add", "Add two numbers", properties={"a": number, "b": number})
    add["inputSchema"]["required"] = ["a", "b"]
    return [echo_tool(), add]


@dataclass(frozen=True)
class Rule:
    """When a message with this `method` arrives, play `actions` instead of the default answer.

    `method` also matches notifications, and "*" matches any request; `mock_servers.remote_actions` describes HTTP verbs.
    `tool` limits `tools/call` to one tool. `params` limits the rule to messages whose parameters contain it. In an object,
    every member of the pattern must match; None matches a missing member.

    Of the matching messages, the rule serves `times` ones from the `nth` on (1 = first). Without `nth` it starts at the
    first and has no end; with `nth`, `times` is 1 by default. The first rule of the script that serves a message wins.
    """

    method: str
    actions: list[Action] = field(default_factory=list)
    tool: str | None = None
    nth: int | None = None
    times: int | None = None
    params: dict[str, Any] | None = None

    def serves(self, occurrence: int) -> bool:
        """Whether the rule serves the matching message number `occurrence` (1 = first)."""
        first = self.nth or 1
        times = self.times if self.times is not None else (1 if self.nth is not None else None)
        return occurrence >= first and (times is None or occurrence < first + times)


def on_call(
    tool: str | None,
    *actions: Action,
    nth: int | None = None,
    times: int | None = None,
    params: dict[str, Any] | None = None,
) -> Rule:
    """The rule for calls of `tool`; None means any tool."""
    return Rule("tools/call", list(actions), tool=tool, nth=nth, times=times, params=params)


@dataclass(frozen=True)
class Grandchild:
    """A process that the mock forks at its start, in the mock's process group unless `new_session`.

    SIGTERM ends it unless `ignore_sigterm`. It outlives the mock, as a helper in the background does, unless `ignore_eof`
    is false. The other fields keep inherited streams open.
    """

    ignore_sigterm: bool = False
    ignore_eof: bool = True
    closes_stdin: bool = True
    holds_stdout: bool = False
    holds_stderr: bool = False
    new_session: bool = False


@dataclass(frozen=True)
class Http:
    """How the mocks behind a URL serve a script; the stdio mock ignores this. Statuses are HTTP statuses.

    `path` is the path of POST (Streamable HTTP) or of the stream (HTTP+SSE). The modern era has neither sessions nor GET
    streams, so it ignores the fields for them.
    """

    path: str = "/mcp"
    # The form of answers. A notification before an answer always makes the response a stream.
    answers: Literal["json", "sse"] = "json"
    # Assign an Mcp-Session-Id, and refuse requests without it (400) or with an unknown one (404).
    sessions: bool = False
    # How to say that a session is unknown: 404 as MCP does, 400 or 401 with a text, or a JSON-RPC error with status 200.
    # HTTP+SSE has only 404 and 400.
    lost: Literal["404", "400", "401", "error"] = "404"
    # Set a cookie with each reply of a session, as a load balancer does, and refuse (404) requests of the session without it.
    sticky: bool = False
    # Paths that redirect to `path`, each with the status.
    redirects: dict[str, int] = field(default_factory=dict)
    # Forget a session after this number of requests.
    session_requests: int | None = None
    # Offer the standalone GET stream (else 405).
    get: bool = True
    # Give events ids, so that a client can resume a stream.
    event_ids: bool = False
    # Begin every stream with an event that has an id, this `retry` (milliseconds) and no data.
    priming: bool = False
    retry: int | None = None
    # End the response of every event stream properly after this many seconds, as a gateway does.
    stream_limit: float | None = None
    # The status and body of the response to a notification.
    accepted: int = 202
    accepted_body: str = ""
    # The status of the response to DELETE; None means no response, ever.
    delete: int | None = 200
    # Answer 401 to a request unless it has each of these headers with exactly this value.
    required_headers: dict[str, str] = field(default_factory=dict)
    # The WWW-Authenticate header of that response.
    challenge: str = "Bearer"
    # Refuse (403) a request whose Host or Origin is not this machine, against DNS rebinding.
    local_only: bool = False
    # HTTP+SSE: the endpoint to announce. `$sid` stands for the id of the session, `$origin` for the scheme, host and port
    # of the stream.
    endpoint: str = "/messages?sid=$sid"
    # HTTP+SSE: the status of the response to a POST to the URL of the stream.
    stream_post: int = 405
    # HTTP+SSE: send every message on the newest stream, also the answer to a request of an earlier one. A server with one transport
    # for all connections does so.
    one_transport: bool = False


@dataclass
class Script:
    """The whole description of a mock. All times are in seconds.

    `tools`, `resources`, `templates` and `prompts` are the raw objects of the list answers. None means that the server
    lacks the feature (no capability, -32601); [] means that the list is empty. Every tool except `add` behaves like
    `echo`. `contents` maps the URI of a resource to the `contents` of its read answer, which is one text by default.
    """

    era: Era = "legacy"
    name: str = "mock"
    version: str = "1.0.0"
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = field(default_factory=default_tools)
    resources: list[dict[str, Any]] | None = None
    templates: list[dict[str, Any]] | None = None
    prompts: list[dict[str, Any]] | None = None
    contents: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # The capabilities to announce; None derives them from the lists above.
    capabilities: dict[str, Any] | None = None
    # Entries per page of every list answer; None means one page.
    page_size: int | None = None
    # The cursors of the second page, the third, and so on; None makes cursors from the position of the page.
    cursors: list[str] | None = None
    # End each default answer to a call with a text "receipt-" and 32 random hexadecimal digits. Before it, the journal gets an
    # entry `receipt` with the id of the `request` and the `receipt`. It shows that an answer comes from this call.
    receipts: bool = False
    # Refuse everything except initialize and ping before notifications/initialized.
    strict: bool = False
    # The version in every answer to initialize; None means the requested version if the mock knows it, else the newest.
    protocol_version: str | None = None
    on: list[Rule] = field(default_factory=list)
    # The mock plays these actions once, before it reads anything.
    startup: list[Action] = field(default_factory=list)
    # Keep running after the end of the input for `linger` seconds; None means until killed.
    ignore_eof: bool = False
    linger: float | None = None
    ignore_sigterm: bool = False
    # After SIGTERM, work for this long, then journal `marker` and exit.
    sigterm_delay: float | None = None
    grandchildren: list[Grandchild] = field(default_factory=list)
    http: Http = field(default_factory=Http)
    # Mocks behind a URL: the MCP URL requires a bearer token of this authorization server, which runs in the same process.
    oauth: OAuth | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def save(self, path: str | os.PathLike[str]) -> "Path":
        """Write the JSON form and return the path."""
        from pathlib import Path  # imported here: a mock that only loads its script must not wait for it

        Path(path).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        return Path(path)

    @classmethod
    def from_dict(cls, value: Any) -> "Script":
        """The script from its JSON form. Raises `ScriptError`."""
        script = build(cls, value, "script")
        if script.era not in ("legacy", "modern", "both"):
            raise ScriptError(f"era: {script.era!r} is not one of legacy, modern, both")
        if script.page_size is not None and script.page_size < 1:
            raise ScriptError(f"page_size: {script.page_size!r} is not a positive number")
        script.on = [
            rule if isinstance(rule, Rule) else build(Rule, rule, f"on[{i}]")
            for i, rule in enumerate(script.on)
        ]
        script.grandchildren = [
            child if isinstance(child, Grandchild) else build(Grandchild, child, f"grandchildren[{i}]")
            for i, child in enumerate(script.grandchildren)
        ]
        http: Any = script.http  # not yet what its type says
        script.http = http if isinstance(http, Http) else build(Http, http, "http")
        if script.http.answers not in ("json", "sse"):
            raise ScriptError(f"http.answers: {script.http.answers!r} is neither json nor sse")
        if script.http.lost not in ("404", "400", "401", "error"):
            raise ScriptError(f"http.lost: {script.http.lost!r} is not one of 404, 400, 401, error")
        oauth: Any = script.oauth  # not yet what its type says
        script.oauth = oauth if oauth is None or isinstance(oauth, OAuth) else OAuth.from_dict(oauth)
        check_actions(script.startup, "startup")
        for number, rule in enumerate(script.on):
            check_actions(rule.actions, f"on[{number}].actions")
        return script

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Script":
        """The script in a file. Raises `ScriptError`."""
        try:
            with open(path, "rb") as file:
                return cls.from_dict(json.loads(file.read()))
        except (OSError, ValueError) as problem:
            raise ScriptError(f"{os.fspath(path)}: {problem}") from problem
