"""What reached the upstreams, by their own journals: the evidence that an answer of the proxy comes from one of them.

The proxy may retry a request, cache a list and change names of prompts. So a call needs an arrival with the same tool and arguments after
the client sent it. If the mock gave a receipt, the call needs this receipt too. A read needs an arrival of the same method, and a list
needs one at any time.

Limit: nothing distinguishes two equal calls to an upstream that wait at the same time.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.errors import HarnessError, Violation
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.shown import show
from mock_servers.answers import VERSION_KEY, meta_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream

_READS = ("resources/read", "prompts/get")


@dataclass(frozen=True)
class Arrival:
    """A request that reached an upstream."""

    t: float
    pid: int
    message: dict[str, Any]
    #: as it arrived
    text: str

    def is_call(self, tool: str, args: Any) -> bool:
        params = self.message.get("params")
        if self.message.get("method") != "tools/call" or not isinstance(params, dict):
            return False
        return params.get("name") == tool and bool((params.get("arguments") or {}) == args)


@dataclass
class _Seen:
    """The part of one journal that has been read: what arrived, and the receipts with their time, process and request id."""

    read: int = 0
    arrived: list[Arrival] = field(default_factory=list)
    receipts: list[tuple[float, int, Any, str]] = field(default_factory=list)


class Arrivals:
    """The requests that reached the upstreams. Reads each journal once, a piece at a time."""

    def __init__(self, upstreams: Callable[[], Sequence[MockUpstream]]) -> None:
        self.upstreams = upstreams
        self._seen: dict[Path, _Seen] = {}

    def named(self, name: str) -> list[MockUpstream]:
        """The upstreams with this name, the newest last."""
        return [upstream for upstream in self.upstreams() if upstream.name == name]

    def scripted(self, member: str) -> list[dict[str, Any]]:
        """The entries that the scripts have for this member of a list answer, such as `resources`."""
        name = "templates" if member == "resourceTemplates" else member
        return [entry for upstream in self.upstreams() for entry in getattr(upstream.script, name) or ()]

    def must_be_declared(self, group: str, tool: str, args: Mapping[str, Any]) -> None:
        """Raise `HarnessError` for an argument that the tool's definitions in the scripts of the group do not declare.

        Some proxies drop or refuse such an argument, which says nothing about the requirement. A tool of no script may have any.
        So may a tool whose schema has more than the properties of an object, because then the check is about the schema.
        """
        schemas = [
            definition.get("inputSchema", {})
            for upstream in self.named(group)
            for definition in upstream.script.tools or []
            if definition.get("name") == tool
        ]
        if not schemas or not all(map(_is_plain, schemas)):
            return
        undeclared = args.keys() - {name for schema in schemas for name in schema.get("properties", {})}
        if undeclared:
            raise HarnessError(
                f"the check calls {tool} of {group} with undeclared arguments {sorted(undeclared)}"
            )

    def connection_gap(self, upstreams: Sequence[MockUpstream]) -> str | None:
        """What is missing in a connection to one of the upstreams with a list of its tools; None if nothing is."""
        problem = None
        for upstream in upstreams:
            arrived = self._read(upstream).arrived
            methods = [arrival.message.get("method") for arrival in arrived]
            opened = "initialize" in methods or any(VERSION_KEY in meta_of(one.message) for one in arrived)
            if opened and ("tools/list" in methods or upstream.script.tools is None):
                return None
            missing = "request for its tools" if opened else "connection"
            problem = f"the journal of upstream {upstream.name} has no {missing}; it has {show(methods)}"
        return problem

    def must_include_one_of_the_calls(
        self, possible: Sequence[tuple[str, str, Any]], since: float, answer: Answer
    ) -> None:
        """As `must_include_call`, for a call that can mean one of several groups, tools and arguments. Raises `Violation`."""
        problems = []
        for group, tool, args in possible:
            try:
                return self.must_include_call(group, tool, args, since, answer)
            except Violation as problem:
                problems.append(problem)
        raise problems[0]

    def must_include_call(self, group: str, tool: str, args: Any, since: float, answer: Answer) -> None:
        """Raise `Violation` unless this successful answer comes from a call that reached an upstream of the group.

        `since` is when the client sent the call, in monotonic seconds. A group without a mock of that name needs no evidence.
        """
        upstreams = self.named(group)
        if not upstreams or not isinstance(args, dict):
            return
        wanted = _loads(json.dumps(args))
        made, given = [], []
        for upstream in upstreams:
            seen = self._read(upstream)
            calls = [one for one in seen.arrived if one.t >= since and one.is_call(tool, wanted)]
            made += calls
            for t, pid, request, receipt in seen.receipts:
                owner = (one for one in calls if (one.pid, one.message.get("id")) == (pid, request))
                given += [receipt for one in owner if one.t <= t]
        if not made:
            arrived = self._after(upstreams, since)
            calls_seen = [one.text for one in arrived if one.message.get("method") == "tools/call"]
            what = f"the call of {tool} with {show(args)} reaches upstream {group} before its answer"
            raise Violation(
                what,
                f"the upstream read the calls {show(' '.join(calls_seen) or 'none')}; the answer: {show(answer.raw)}",
            )
        asks = isinstance(answer.result, dict) and answer.result.get("resultType") == "input_required"
        if given and not asks and not any(receipt in answer.raw for receipt in given):
            what = (
                f"the answer to the call of {tool} has the receipt of upstream {group}, {' or '.join(given)}"
            )
            raise Violation(what, show(answer.raw))

    def must_include_request(self, method: str, since: float, answer: Answer) -> None:
        """Raise `Violation` unless this successful answer about resources or prompts comes from an upstream."""
        upstreams = self.upstreams()
        member, _ = LISTS.get(method, (None, None))
        is_empty_list = member is not None and not (
            isinstance(answer.result, dict) and answer.result.get(member)
        )
        if not upstreams or is_empty_list or (member is None and method not in _READS):
            return
        arrived = self._after(upstreams, since if member is None else 0.0)
        if not any(one.message.get("method") == method for one in arrived):
            what = f"{method} reaches an upstream before its answer"
            raise Violation(what, f"no upstream read it; the answer: {show(answer.raw)}")

    def _after(self, upstreams: Sequence[MockUpstream], since: float) -> list[Arrival]:
        return [one for upstream in upstreams for one in self._read(upstream).arrived if one.t >= since]

    def _read(self, upstream: MockUpstream) -> _Seen:
        seen = self._seen.setdefault(upstream.journal, _Seen())
        try:
            file = os.open(upstream.journal, os.O_RDONLY)
        except FileNotFoundError:
            return seen
        with os.fdopen(file, "rb") as journal:
            journal.seek(seen.read)
            content = journal.read()
        complete = content[: content.rfind(b"\n") + 1]
        seen.read += len(complete)
        for line in complete.splitlines():
            entry = json.loads(line)
            if entry["event"] == "receipt":
                seen.receipts.append((entry["t"], entry["pid"], entry["request"], entry["receipt"]))
            elif entry["event"] in upstream.arrivals and '"method"' in entry.get("text", ""):
                seen.arrived += _requests(entry)
        return seen


def _is_plain(schema: Any) -> bool:
    """Whether the schema is that of an object and has nothing but its properties."""
    return (
        isinstance(schema, dict)
        and schema.get("type") == "object"
        and not schema.keys() - {"type", "properties", "required"}
    )


def _requests(entry: dict[str, Any]) -> list[Arrival]:
    """The requests in an entry, those of a batch too."""
    try:
        value = _loads(entry["text"])
    except (ValueError, RecursionError):
        return []
    messages = value if isinstance(value, list) else [value]
    return [
        Arrival(entry["t"], entry["pid"], one, entry["text"]) for one in messages if isinstance(one, dict)
    ]


def _loads(text: str) -> Any:
    """The value of JSON text. Numbers are compared as floating-point numbers, because I-JSON promises no more."""
    return json.loads(text, parse_int=float)
