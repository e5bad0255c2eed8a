"""What a mock is told to do: a `Script`, built in Python, kept as a JSON file, loaded by the mock.

A default `Script()` is a well-behaved server with the tools `echo` and `add`. Misbehaviour is added by
rules (`Rule`, `on_call`) made of actions, by `startup` actions, and by the shutdown fields. Loading is
strict: an unknown field, action or era is a `ScriptError` that names it, because a script with a typing
mistake would otherwise be a well-behaved server, and a test that expects misbehaviour would pass for
nothing.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from mock_servers import actions as _actions
from mock_servers import remote_actions as _remote_actions
from mock_servers.actions import (
    Action,
    allocate,
    close_stdout,
    compute,
    crash,
    duplicate_reply,
    error,
    hold,
    kill_self,
    list_changed,
    notify,
    payload,
    progress,
    raw,
    release,
    reply,
    reply_in_chunks,
    request,
    send,
    set_prompts,
    set_tools,
    silence,
    sleep,
    stderr,
    unending,
    wrong_id_reply,
)
from mock_servers.oauth_script import CLIENT_AUTH, ENDPOINTS, Fault, OAuth

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
    "close_stdout",
    "compute",
    "crash",
    "default_tools",
    "duplicate_reply",
    "error",
    "hold",
    "kill_self",
    "list_changed",
    "notify",
    "on_call",
    "payload",
    "progress",
    "raw",
    "release",
    "reply",
    "reply_in_chunks",
    "request",
    "send",
    "set_prompts",
    "set_tools",
    "silence",
    "sleep",
    "stderr",
    "tool",
    "unending",
    "wrong_id_reply",
]

Era = Literal["legacy", "modern", "both"]
_T = TypeVar("_T")


class ScriptError(ValueError):
    """The script cannot be understood; the message names the field."""


def tool(
    name: str, description: str = "", *, properties: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A tool with an object schema; `fields` are added as they are (title, annotations, outputSchema,
    ...)."""
    schema = {"type": "object", "properties": properties or {}}
    return {"name": name, "description": description, "inputSchema": schema, **fields}


def default_tools() -> list[dict[str, Any]]:
    """`echo` gives its arguments back, `add` the sum of the numbers `a` and `b`."""
    number = {"type": "number"}
    add = tool("add", "Add two numbers", properties={"a": number, "b": number})
    add["inputSchema"]["required"] = ["a", "b"]
    return [tool("echo", "Return the arguments"), add]


@dataclass(frozen=True)
class Rule:
    """When a message with this `method` arrives, play `actions` instead of the default answer.

    `method` is also matched against notifications; "*" is any request; for the HTTP mocks see
    `mock_servers.remote_actions` too. `tool` narrows `tools/call` to one tool, `params` to messages whose
    parameters hold the same: in an object every member of the pattern has to match, and None stands for a
    member that is not there. Of the messages that match, the rule serves those from the `nth` (1 = first)
    on, `times` of them: without `nth` all, with `nth` only that one, unless `times` says otherwise. The
    first rule of the script that serves a message wins.
    """

    method: str
    actions: list[Action] = field(default_factory=list)
    tool: str | None = None
    nth: int | None = None
    times: int | None = None
    params: dict[str, Any] | None = None

    def serves(self, occurrence: int) -> bool:
        """Does the rule serve the message that matches for the `occurrence`-th time (1 = first)?"""
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
    """The rule for calls of `tool` (None = of any tool)."""
    return Rule("tools/call", list(actions), tool=tool, nth=nth, times=times, params=params)


@dataclass(frozen=True)
class Grandchild:
    """A process that the mock forks at its start, in its own process group unless `new_session`.

    It ends when the mock has gone, or by SIGTERM, unless told to ignore either. By default it outlives the
    mock, as helpers that are started in the background do. It keeps the inherited stdin, stdout or stderr
    open only if asked.
    """

    ignore_sigterm: bool = False
    ignore_eof: bool = True
    closes_stdin: bool = True
    holds_stdout: bool = False
    holds_stderr: bool = False
    new_session: bool = False


@dataclass(frozen=True)
class Http:
    """How the HTTP mocks serve a script; the stdio mock does not look at it. Statuses are HTTP's.

    `path` is where POST (Streamable HTTP) or the stream (HTTP+SSE) is. In the modern era there are neither
    sessions nor GET streams, whatever is said here.
    """

    path: str = "/mcp"
    # How requests are answered; a notification before an answer makes it a stream in any case.
    answers: Literal["json", "sse"] = "json"
    # Assign an Mcp-Session-Id and refuse requests without it (400) or with an unknown one (404).
    sessions: bool = False
    # Forget a session after it was used this many times.
    session_requests: int | None = None
    # Offer the standalone GET stream (else 405).
    get: bool = True
    # Give events ids, so that a stream can be resumed.
    event_ids: bool = False
    # Begin every stream with an event that has an id, this `retry` (milliseconds) and no data.
    priming: bool = False
    retry: int | None = None
    # Status of the answer to a notification, and the body that goes with it.
    accepted: int = 202
    accepted_body: str = ""
    # Status of the answer to DELETE; None = never answered.
    delete: int | None = 200
    # Answer 401 to requests that lack one of these headers with exactly this value.
    required_headers: dict[str, str] = field(default_factory=dict)
    # The WWW-Authenticate header of that answer.
    challenge: str = "Bearer"
    # Refuse (403) a request whose Host or Origin is not of this machine: against DNS rebinding.
    local_only: bool = False
    # HTTP+SSE: what is announced as endpoint; `$sid` stands for the id of the session, `$origin` for the
    # scheme, host and port of the stream.
    endpoint: str = "/messages?sid=$sid"
    # HTTP+SSE: status of the answer to a POST to the URL of the stream.
    stream_post: int = 405


@dataclass
class Script:
    """Everything a mock is told. All times are seconds.

    `tools`, `resources`, `templates` and `prompts` are the raw objects of the list answers; None = the
    server does not have that feature at all (no capability, -32601), [] = it has none of them at the
    moment. Every tool but `add` behaves like `echo`. `contents` maps a resource's URI to the `contents` of
    its read answer (default: one text).
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
    # Announced instead of what follows from the lists above.
    capabilities: dict[str, Any] | None = None
    # Entries per page of every list answer; None = one page.
    page_size: int | None = None
    # The cursors of the second page, the third, ...; None = they say where the page begins.
    cursors: list[str] | None = None
    # Refuse everything but initialize and ping before notifications/initialized.
    strict: bool = False
    # Answer every initialize with this version; None = the requested one if it is known, else the newest.
    protocol_version: str | None = None
    on: list[Rule] = field(default_factory=list)
    # Played once, before anything is read.
    startup: list[Action] = field(default_factory=list)
    # Stay after the end of the input, for `linger` (None = until killed).
    ignore_eof: bool = False
    linger: float | None = None
    ignore_sigterm: bool = False
    # Upon SIGTERM work for this long, then journal `marker` and exit.
    sigterm_delay: float | None = None
    grandchildren: list[Grandchild] = field(default_factory=list)
    http: Http = field(default_factory=Http)
    # HTTP mocks: the MCP URL wants a bearer of this authorization server, which runs in the same process.
    oauth: OAuth | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def save(self, path: str | os.PathLike[str]) -> "Path":
        """Write the JSON form and return the path."""
        from pathlib import Path  # not needed, and too slow to load, where a mock loads its script

        Path(path).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")
        return Path(path)

    @classmethod
    def from_dict(cls, value: Any) -> "Script":
        """The script of a JSON form; raises ScriptError."""
        script = _build(cls, value, "script")
        if script.era not in ("legacy", "modern", "both"):
            raise ScriptError(f"era: {script.era!r} is none of legacy, modern, both")
        if script.page_size is not None and script.page_size < 1:
            raise ScriptError(f"page_size: {script.page_size!r} is not a positive number")
        script.on = [
            rule if isinstance(rule, Rule) else _build(Rule, rule, f"on[{i}]")
            for i, rule in enumerate(script.on)
        ]
        script.grandchildren = [
            child if isinstance(child, Grandchild) else _build(Grandchild, child, f"grandchildren[{i}]")
            for i, child in enumerate(script.grandchildren)
        ]
        http: Any = script.http  # not yet what its type says
        script.http = http if isinstance(http, Http) else _build(Http, http, "http")
        if script.http.answers not in ("json", "sse"):
            raise ScriptError(f"http.answers: {script.http.answers!r} is neither json nor sse")
        script.oauth = _oauth(script.oauth)
        _check_actions(script.startup, "startup")
        for number, rule in enumerate(script.on):
            _check_actions(rule.actions, f"on[{number}].actions")
        return script

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Script":
        """The script in a file; raises ScriptError."""
        try:
            with open(path, "rb") as file:
                return cls.from_dict(json.loads(file.read()))
        except (OSError, ValueError) as problem:
            raise ScriptError(f"{os.fspath(path)}: {problem}") from problem


def _build(kind: type[_T], value: Any, where: str) -> _T:
    if not isinstance(value, dict):
        raise ScriptError(f"{where}: expected an object, got {value!r}")
    unknown = sorted(set(value) - {f.name for f in fields(cast("Any", kind))})
    if unknown:
        raise ScriptError(f"{where}: unknown field {', '.join(unknown)}")
    try:
        return kind(**value)
    except TypeError as problem:
        raise ScriptError(f"{where}: {problem}") from problem


def _oauth(value: Any) -> OAuth | None:
    if value is None or isinstance(value, OAuth):
        return value
    oauth = _build(OAuth, value, "oauth")
    faults = [
        fault if isinstance(fault, Fault) else _build(Fault, fault, f"oauth.faults[{i}]")
        for i, fault in enumerate(oauth.faults)
    ]
    for number, fault in enumerate(faults):
        if fault.at not in ENDPOINTS:
            raise ScriptError(f"oauth.faults[{number}].at: {fault.at!r} is none of {', '.join(ENDPOINTS)}")
    if oauth.registered_auth not in CLIENT_AUTH:
        raise ScriptError(
            f"oauth.registered_auth: {oauth.registered_auth!r} is none of {', '.join(CLIENT_AUTH)}"
        )
    return replace(oauth, faults=faults)


def _check_actions(actions: Any, where: str) -> None:
    if not isinstance(actions, list):
        raise ScriptError(f"{where}: expected a list of actions, got {actions!r}")
    for number, action in enumerate(actions):
        name = action.get("do") if isinstance(action, dict) else None
        if name not in _KNOWN_ACTIONS:
            raise ScriptError(f"{where}[{number}]: unknown action {name!r}")


_KNOWN_ACTIONS = frozenset(
    name
    for module in (_actions, _remote_actions)
    for name, value in vars(module).items()
    if callable(value) and not name.startswith("_") and name[0].islower()
)
