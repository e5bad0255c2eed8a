"""Turns the events of a check's log into steps of a diagram: source, target and a short label.

`read_log` returns a `Step` for each event, in their order. It knows the events that `conformance.workbench` and `mock_servers` record; any
other event becomes a step at its actor, so nothing is lost. Texts may be shortened in the middle, so this module searches them instead of
decoding them. A text that misleads the search spoils only a label.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.model.evidence import Event


class Role(IntEnum):
    """The roles in a check, from left to right."""

    CLIENT = 0
    PROXY = 1
    UPSTREAM = 2
    AUTHORIZATION = 3
    BROWSER = 4
    PROCESSES = 5
    OTHER = 6


@dataclass(frozen=True, order=True)
class Party:
    """A participant: one client, proxy, upstream, ..."""

    role: Role
    name: str


CLIENT = Party(Role.CLIENT, "client")
BROWSER = Party(Role.BROWSER, "browser")
PROCESSES = Party(Role.PROCESSES, "processes")


@dataclass(frozen=True)
class Step:
    """One line of the diagram. Without a `target` it happens at `source`; without both it is a remark."""

    at_ms: float
    source: Party | None
    target: Party | None
    label: str
    #: the recorded text
    text: str = ""
    #: a detail for close readers, such as the end of a response
    minor: bool = False


_Method: TypeAlias = "Callable[[_Reader, Event, Party], Step]"

_PID = re.compile(r"pid (\d+):? ?")
_RPC_METHOD = re.compile(r'\\?"method\\?"\s*:\s*\\?"([^"\\]{1,80})')
_RPC_ID = re.compile(r'\\?"id\\?"\s*:\s*("[^"]{0,40}"|-?\d{1,20})')
_JSON = json.JSONDecoder()


def field(text: str, name: str) -> str:
    """The text or number of the first JSON field with this name; empty if there is none or it is shortened."""
    at = text.find(f'"{name}": ')
    if at < 0:
        return ""
    try:
        value, _ = _JSON.raw_decode(text, at + len(name) + 4)
    except (ValueError, RecursionError):
        return ""
    return str(value) if isinstance(value, (str, int)) else ""


def read_log(events: Sequence[Event]) -> list[Step]:
    """The steps of a whole log, in its order."""
    reader = _Reader(events)
    return [reader.read(event) for event in events]


class _Reader:
    """Reads the events in their order, because their meaning may depend on earlier ones."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._latest = Party(Role.PROXY, "proxy")
        #: proxies by process id, and by the name of an upstream that they started
        self._pids: dict[str, Party] = {}
        self._owners: dict[str, Party] = {}
        self._paths: dict[str, str] = {}
        #: the methods of requests, by source, target and id
        self._asked: dict[tuple[Party, Party, str], str] = {}
        #: the two parties of an HTTP exchange, by upstream and number
        self._exchanges: dict[tuple[str, str], tuple[Party, Party]] = {}
        # Collected beforehand, because the event follows the request that it belongs to.
        self._authorizations = {
            (event.actor, field(event.text, "n")) for event in events if event.kind == "authorize"
        }

    def read(self, event: Event) -> Step:
        """The step of the next event."""
        actor, _, name = event.actor.partition(" ")
        if actor == "client" and event.kind == "in":
            return self._message(event, CLIENT, self._proxy(event.peer), event.text)
        if actor == "runner":
            return self._runner_event(event)
        if actor == "check":
            return Step(event.at_ms, None, None, event.kind, event.text)
        if actor == "browser":
            return self._browser_event(event)
        if actor == "upstream":
            read = _UPSTREAM.get(event.kind, _Reader._happened)
            return read(self, event, Party(Role.UPSTREAM, event.actor))
        if actor == "mock":
            # Its start and end; the journal of the mock tells the rest.
            return self._at(event, Party(Role.UPSTREAM, f"upstream {name}"), minor=True)
        if re.fullmatch(r"(proxy|run)(-\d+)?", event.actor):
            return self._proxy_event(event)
        return self._at(event, Party(Role.OTHER, event.actor))

    def _proxy(self, name: str) -> Party:
        return Party(Role.PROXY, name) if name else self._latest

    def _owner(self, upstream: Party) -> Party:
        return self._owners.get(upstream.name, self._latest)

    def _at(self, event: Event, party: Party, label: str = "", *, minor: bool = False) -> Step:
        return Step(event.at_ms, party, None, label or event.kind, event.text, minor)

    def _proxy_event(self, event: Event) -> Step:
        party = Party(Role.PROXY, event.actor)
        if event.kind == "out":
            return self._message(event, party, CLIENT, event.text)
        if event.kind == "start" and (pid := _PID.match(event.text)):
            self._latest = self._pids[pid[1]] = party
        return self._at(event, party)

    def _runner_event(self, event: Event) -> Step:
        if event.kind == "ended-leftover":
            return self._at(event, PROCESSES, "left over, ended by the runner")
        words = _RUNNER.get(event.kind)
        if words is None:
            return Step(event.at_ms, None, None, event.kind, event.text)
        if event.peer.startswith("mock "):
            party = Party(Role.UPSTREAM, f"upstream {event.peer.removeprefix('mock ')}")
            return self._at(event, party, words, minor=True)
        label = event.text or words if event.kind == "signal" else words
        return Step(event.at_ms, CLIENT, self._proxy(event.peer), label)

    def _browser_event(self, event: Event) -> Step:
        if event.kind == "opened":
            page = field(event.text, "url") or event.text
            return Step(event.at_ms, self._latest, BROWSER, "opens a page", page)
        if event.kind in ("callback", "stray"):
            status = field(event.text, "status")
            label = f"{event.kind}, answered {status}" if status else f"{event.kind}, not answered"
            return Step(event.at_ms, BROWSER, self._latest, label, event.text)
        return self._at(event, BROWSER, minor=True)

    # Messages

    def _message(self, event: Event, source: Party, target: Party, text: str) -> Step:
        return Step(event.at_ms, source, target, self._label(source, target, text), text)

    def _label(self, source: Party, target: Party, text: str) -> str:
        number = _RPC_ID.search(text[:300])
        identity = number[1] if number else ""
        shown = f" {identity}" if identity else ""
        method = _RPC_METHOD.search(text[:400])
        answers = re.search(r'"(result|error)"\s*:', text[:300])
        if method and not (answers and answers.start() < method.start()):
            if identity:
                self._asked[source, target, identity] = method[1]
            return f"{method[1]}{shown}"
        if answers:
            asked = self._asked.get((target, source, identity), "")
            failed = answers[1] == "error" or '"isError":true' in text.replace(" ", "")
            return f"{asked} {'error' if failed else 'result'}{shown}".strip()
        return "a message" if text.strip() else "an empty line"

    # Upstreams

    def _started(self, event: Event, upstream: Party) -> Step:
        owner = self._pids.get(field(event.text, "ppid"))
        if owner is not None:
            self._owners[upstream.name] = owner
        return self._at(event, upstream)

    def _listening(self, event: Event, upstream: Party) -> Step:
        if field(event.text, "issuer"):
            self._paths[upstream.name] = _path(field(event.text, "url"))
        return self._at(event, upstream, "listens", minor=True)

    def _heard(self, event: Event, upstream: Party) -> Step:
        return self._message(event, self._owner(upstream), upstream, _PID.sub("", event.text, count=1))

    def _sent(self, event: Event, upstream: Party) -> Step:
        return self._message(event, upstream, self._owner(upstream), _PID.sub("", event.text, count=1))

    def _requested(self, event: Event, upstream: Party) -> Step:
        text = event.text
        number, verb, target = (field(text, name) for name in ("n", "method", "target"))
        key = event.actor, number
        asker = BROWSER if key in self._authorizations else self._owner(upstream)
        asked = self._server_of(target, upstream)
        self._exchanges[key] = asker, asked
        # The HTTP method has the first field of this name, the JSON-RPC message comes last.
        methods = _RPC_METHOD.findall(text)[1:]
        if methods and (ids := _RPC_ID.findall(text)):
            self._asked[asker, asked, ids[-1]] = methods[-1]
        label = " ".join([verb, _path(target), *methods[-1:]])
        return Step(event.at_ms, asker, asked, label, _PID.sub("", text, count=1))

    def _server_of(self, target: str, upstream: Party) -> Party:
        own = self._paths.get(upstream.name)
        path = _path(target)
        if own is None or path == own or path.startswith("/.well-known/oauth-protected-resource"):
            return upstream
        return _authorization_server(upstream)

    def _responded(self, event: Event, upstream: Party) -> Step:
        asker, asked = self._exchanges.get(
            (event.actor, field(event.text, "n")), (self._owner(upstream), upstream)
        )
        status = field(event.text, "status")
        return Step(event.at_ms, asked, asker, f"HTTP {status}", _PID.sub("", event.text, count=1))

    def _response_ended(self, event: Event, upstream: Party) -> Step:
        by = field(event.text, "by")
        words = {"client": "the client gives up the response", "cut": "the connection breaks"}
        return self._at(event, upstream, words.get(by, "the response is complete"), minor=by not in words)

    def _connected(self, event: Event, upstream: Party) -> Step:
        words = {"connection": "connects", "disconnect": "disconnects"}
        return self._at(event, upstream, words.get(event.kind, event.kind), minor=True)

    def _decided(self, event: Event, upstream: Party) -> Step:
        problem = field(event.text, "problem")
        label = f"{event.kind} refused: {problem}" if problem else f"{event.kind} granted"
        return self._at(event, _authorization_server(upstream), label)

    def _input_ended(self, event: Event, upstream: Party) -> Step:
        if upstream.name in self._owners:
            return Step(event.at_ms, self._owner(upstream), upstream, "end of input")
        return self._at(event, upstream, minor=True)

    def _of_a_child(self, event: Event, upstream: Party) -> Step:
        return self._at(event, PROCESSES, f"{event.kind} of {upstream.name}")

    def _happened(self, event: Event, upstream: Party) -> Step:
        return self._at(event, upstream)


_RUNNER = {"close-stdin": "closes stdin", "close-stdout": "closes stdout", "signal": "a signal"}

_UPSTREAM: dict[str, _Method] = {
    "start": _Reader._started,
    "listening": _Reader._listening,
    "line": _Reader._heard,
    "sent": _Reader._sent,
    "http-request": _Reader._requested,
    "http-response": _Reader._responded,
    "http-end": _Reader._response_ended,
    "connection": _Reader._connected,
    "disconnect": _Reader._connected,
    "tls-hello": _Reader._connected,
    "authorize": _Reader._decided,
    "token": _Reader._decided,
    "register": _Reader._decided,
    "eof": _Reader._input_ended,
    "grandchild-start": _Reader._of_a_child,
    "grandchild-signal": _Reader._of_a_child,
    "grandchild-exit": _Reader._of_a_child,
}


def _authorization_server(upstream: Party) -> Party:
    return Party(Role.AUTHORIZATION, f"authorization server of {upstream.name.removeprefix('upstream ')}")


def _path(target: str) -> str:
    try:
        return urlsplit(target).path or "/"
    except ValueError:
        return target
