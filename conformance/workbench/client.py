"""A raw MCP client on the implementation's stdin and stdout: it sends what it is told and keeps what it gets.

Nothing is validated on the way, so that a check can be about anything; an answer is whatever has the
request's id and a `result` or an `error`. In the legacy era `handshake` comes first; in the modern era every
request carries its own `_meta`. A failed prerequisite (`handshake`, `groups`, `ready`) is `Untestable`; a
missing answer to a plain `request` is a `Violation`; an implementation that is gone while it should serve is
`ImplementationCrashed`.

Limits: requests that the implementation sends to the client are kept in `received` and not answered (see
`conversation.answering`); the first 64 MiB of stdout are read.
"""

from __future__ import annotations

import json
import math
import re
import signal
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio

from conformance.errors import ImplementationCrashed, Untestable, Violation
from conformance.workbench.deadlines import prolonged
from conformance.workbench.inbox import Answer, CallResult, Inbox, Json, RequestId
from conformance.workbench.launched import Launched, describe_end
from conformance.workbench.timeline import Timeline, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.sut import Profile
    from conformance.workbench.census import Census
    from conformance.workbench.conversation import Transcript

Era = Literal["legacy", "modern"]

NEWEST_LEGACY = "2025-11-25"
MODERN = "2026-07-28"
CLIENT_INFO = {"name": "conformance", "version": "1.0.0"}
_POLL = 0.1
#: our own requests count from here: the smaller ids are left to checks that choose theirs
_FIRST_ID = 1001
#: pages after which a list is taken for endless
_MAX_PAGES = 100
#: how long a program whose stdout has ended may take to be gone, so that the message can say how it ended
_LAST_MOMENT = 1.0


class Named(Protocol):
    """An upstream as far as the client cares."""

    @property
    def name(self) -> str: ...


class Proxy:
    """The implementation under test, as its client sees it."""

    def __init__(
        self,
        launched: Launched,
        inbox: Inbox,
        timeline: Timeline,
        profile: Profile,
        tool_names: Callable[[str], list[str]],
        family: Census,
        patience: float = math.inf,
    ) -> None:
        self.era: Era = "legacy"
        #: what the client says it can do, in `handshake` and in every modern request
        self.capabilities: Json = {}
        #: the answer to `initialize`, after `handshake`
        self.greeting: Answer | None = None
        #: the implementation itself and every process that it started
        self.family = family
        self._launched = launched
        self._inbox = inbox
        self._timeline = timeline
        self._list_tool = profile.tools["list"]
        self._call_tool = profile.tools["call"]
        self._starts_within = profile.starts_within
        self._tool_names = tool_names
        self._patience = patience
        self._last_id = _FIRST_ID - 1
        self._may_end = False
        self._reads = True

    @property
    def version(self) -> str:
        """The version that it gave itself in its answer to `initialize`, if it did."""
        server = self.greeting.result.get("serverInfo") if self.greeting is not None else None
        version = server.get("version") if isinstance(server, dict) else None
        return shorten(version, 40) if isinstance(version, str) else ""

    @property
    def pid(self) -> int:
        return self._launched.pid

    @property
    def pipes(self) -> set[str]:
        """What /proc calls the pipes of its stdin and stdout."""
        return self._launched.pipes

    @property
    def modern(self) -> bool:
        return self.era == "modern"

    @modern.setter
    def modern(self, modern: bool) -> None:
        self.era = "modern" if modern else "legacy"

    @property
    def stdout(self) -> bytes:
        return bytes(self._launched.stdout.data)

    @property
    def stdout_lines(self) -> list[str]:
        """The complete lines so far."""
        return self.stdout.decode(errors="replace").split("\n")[:-1]

    @property
    def stderr(self) -> str:
        return self._launched.stderr.data.decode(errors="replace")

    @property
    def received(self) -> list[Json]:
        """Everything that is not an awaited answer: notifications, requests, answers that nobody asked for."""
        return self._inbox.received

    @property
    def transcript(self) -> Transcript:
        """Every line of both sides, with its time."""
        return self._inbox.transcript

    @property
    def junk(self) -> list[str]:
        """Lines on stdout that are not JSON objects."""
        return self._inbox.junk

    # Sending

    async def send_raw(self, data: bytes, within: float = 5.0) -> None:
        """Write exactly these bytes."""
        text = data.decode(errors="replace").rstrip("\n")
        self._timeline.record("client", "in", text, peer=self._launched.actor)
        self.transcript.sent(data)
        await self._launched.write(data, within)

    async def notify(self, method: str, params: Json | None = None, *, era: Era | None = None) -> None:
        await self.send(self._envelope(method, params, era))

    async def request(
        self,
        method: str,
        params: Json | None = None,
        *,
        era: Era | None = None,
        id: RequestId | None = None,
        within: float = 5.0,
    ) -> Answer:
        """Send a request, under an id of our own unless one is given, and wait `within` seconds for its
        answer.
        """
        request_id = self._next_id() if id is None else id
        line = _line({"id": request_id, **self._envelope(method, params, era)})
        return await self.exchange(line, request_id, method, within=within)

    async def exchange(self, line: str, id: RequestId, what: str, *, within: float = 5.0) -> Answer:
        """Send exactly this line, a request with this id, and wait for its answer; `what` names it in
        messages.
        """
        arrived, answers = self._inbox.expect(id)
        try:
            with anyio.move_on_after(prolonged(within)):
                await self.send_raw(line.encode() + b"\n", prolonged(within))
                if not self._inbox.ended.is_set():
                    await arrived.wait()
        except Violation:
            if self._launched.code is None:
                raise
        finally:
            self._inbox.forget(id)
        if answers:
            return answers[0]
        raise await self._no_answer(what, within)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def begin(self, method: str, params: Json | None, *, id: str | int, era: Era | None = None) -> None:
        """Send a request under this id without waiting; the answer ends up in `received`."""
        await self.send({"id": id, **self._envelope(method, params, era)})

    async def send(self, message: Json, within: float = 5.0) -> None:
        """Send a message of any kind as it is."""
        await self.send_raw(_line(message).encode() + b"\n", within)

    def _envelope(self, method: str, params: Json | None, era: Era | None) -> Json:
        if (era or self.era) == "legacy":
            return {"method": method} if params is None else {"method": method, "params": params}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            **(params or {}).get("_meta", {}),
        }
        return {"method": method, "params": {**(params or {}), "_meta": meta}}

    async def _no_answer(self, method: str, within: float) -> Violation:
        expected = f"an answer to {method} within {within:g} s"
        if self._launched.stdout.overflowed or self._inbox.flooded:
            return Violation(expected, f"a flood of {self._launched.stdout.size} bytes on stdout")
        if self._inbox.ended.is_set() or self._launched.code is not None:
            await self._launched.wait(_LAST_MOMENT)
            return ImplementationCrashed(expected, f"{self.how_it_ended()}; stderr: {self._last_words()}")
        junk = f"; not JSON on stdout: {self.junk[-1]!r}" if self.junk else ""
        return Violation(expected, f"none; stderr: {self._last_words()}{junk}")

    # Prerequisites

    async def handshake(self, version: str = NEWEST_LEGACY, within: float | None = None) -> Answer:
        """`initialize` and `notifications/initialized`, `within` the time that the profile allows unless said otherwise.
        Raises `Untestable` when it is not answered with a result.
        """
        within = self._starts_within if within is None else within
        params = {"protocolVersion": version, "capabilities": self.capabilities, "clientInfo": CLIENT_INFO}
        self.era = "legacy"
        try:
            greeting = await self.request("initialize", params, within=min(within, self._patience))
        except Violation as problem:
            self._may_end = self._died_by_itself() is None
            if not self._may_end:
                raise
            raise Untestable(f"initialize was not answered: {problem.seen}") from problem
        if not isinstance(greeting.result, dict):
            raise Untestable(f"initialize was refused: {shorten(greeting.raw)}")
        self.greeting = greeting
        await self.notify("notifications/initialized")
        return greeting

    async def groups(self, within: float = 5.0) -> list[str]:
        """The groups that the listing tool offers now: the enum of its `group` argument."""
        answer = await self._prerequisite("tools/list", {}, within)
        for tool in answer.result.get("tools", []) if isinstance(answer.result, dict) else []:
            if isinstance(tool, dict) and tool.get("name") == self._list_tool:
                return _group_names(tool)
        raise Untestable(f"tools/list shows no tool {self._list_tool}: {shorten(answer.raw)}")

    async def ready(self, *upstreams: Named | str, within: float = 15.0) -> None:
        """Wait until the listing tool shows each upstream's tools; this also wakes a lazy implementation.

        Raises `Untestable` with the last listing.
        """
        within = min(within, self._patience)
        deadline = time.monotonic() + prolonged(within)
        for upstream in upstreams:
            name = upstream if isinstance(upstream, str) else upstream.name
            last = ""
            while True:
                # A listing that comes too late is as good as none.
                left = max(deadline - time.monotonic(), _POLL)
                try:
                    answer = await self.tools_of(name, within=left)
                except Untestable:
                    # What was said in time tells more than that the last question, asked at the very end, was not answered.
                    if not last or time.monotonic() < deadline:
                        raise
                else:
                    last = shorten(answer.raw)
                    if _lists(answer, self._tool_names(name)):
                        break
                if time.monotonic() > deadline:
                    raise Untestable(f"group {name} is not ready in {within:g} s: {last}")
                await anyio.sleep(_POLL)

    async def tools_of(self, group: str, within: float = 15.0) -> Answer:
        """What the listing tool says about a group, right or wrong."""
        params = {"name": self._list_tool, "arguments": {"group": group}}
        return await self._prerequisite("tools/call", params, within)

    async def wake(self, group: str) -> None:
        """Ask for the tools of a group without waiting, so that a lazy implementation connects to it."""
        params = {"name": self._list_tool, "arguments": {"group": group}}
        await self.begin("tools/call", params, id=self._next_id())

    async def _prerequisite(self, method: str, params: Json, within: float) -> Answer:
        try:
            return await self.request(method, params, within=min(within, self._patience))
        except ImplementationCrashed:
            raise
        except Violation as problem:
            raise Untestable(f"{problem.expected}: {problem.seen}") from problem

    # Using

    async def call(
        self, group: str, tool: str, args: Json | None = None, *, within: float = 10.0
    ) -> CallResult:
        """Call a tool of a group through the calling tool."""
        return await self.request("tools/call", self.calling(group, tool, args), within=within)

    async def begin_call(self, group: str, tool: str, args: Json | None = None) -> None:
        """Call a tool without waiting; an answer ends up in `received`."""
        await self.begin("tools/call", self.calling(group, tool, args), id=self._next_id())

    async def items(
        self, method: str, member: str, params: Json | None = None, *, within: float = 10.0
    ) -> list[Json]:
        """Everything that a list method offers, page by page. Raises `Violation` when it is refused, is no
        list, or does not come to an end.
        """
        found: list[Json] = []
        asked = dict(params or {})
        deadline = time.monotonic() + prolonged(within)
        for _ in range(_MAX_PAGES):
            answer = await self.request(method, asked, within=max(0.0, deadline - time.monotonic()))
            page = answer.result.get(member) if isinstance(answer.result, dict) else None
            if not isinstance(page, list):
                raise Violation(f"{method} is answered with {member}", shorten(answer.raw))
            found += page
            if answer.result.get("nextCursor") is None:
                return found
            asked["cursor"] = answer.result["nextCursor"]
        raise Violation(f"{method} comes to an end", f"{_MAX_PAGES} pages, the last: {shorten(answer.raw)}")

    def calling(self, group: str, tool: str, args: Json | None = None) -> Json:
        """The params of a call of this tool, through the calling tool."""
        arguments = {"group": group, "name": tool, "args": {} if args is None else args}
        return {"name": self._call_tool, "arguments": arguments}

    # Ending

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the implementation itself, or to all of its group, as Ctrl-C in a terminal does."""
        self._may_end = True
        self._launched.signal(number, whole_group=whole_group)

    def close_stdin(self) -> None:
        self._may_end = True
        self._launched.close_stdin()

    def close_stdout(self) -> None:
        """Close our reading end: the next write of the implementation fails."""
        self._may_end = True
        self._reads = False
        self._launched.close_stdout()

    async def wait_exit(self, within: float = 5.0) -> int | None:
        """The exit status (negative for a signal), or None when it still runs after `within` seconds."""
        self._may_end = True
        return await self._launched.wait(within)

    def how_it_ended(self) -> str:
        return describe_end(self._launched.code)

    def must_still_serve(self) -> None:
        """Raise `ImplementationCrashed` when it has gone although nobody ended it."""
        code = self._launched.code
        if code is not None and (not self._may_end or self._died_by_itself() is not None):
            seen = (
                f"{self.how_it_ended()} after {self._launched.lifetime:.1f} s; stderr: {self._last_words()}"
            )
            raise ImplementationCrashed("serves until its stdin is closed or it is signalled", seen)

    def _died_by_itself(self) -> int | None:
        """The signal that killed it, if it was not our doing."""
        code = self._launched.code
        if code is None or code >= 0 or self._launched.sent_signals:
            return None
        return None if not self._reads and -code == signal.SIGPIPE else -code

    def _last_words(self) -> str:
        return repr(self.stderr[-400:]) if self.stderr else "empty"


def _line(message: Json) -> str:
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)


def _group_names(tool: Json) -> list[str]:
    schema: Any = tool.get("inputSchema")
    for key in ("properties", "group", "enum"):
        schema = schema.get(key) if isinstance(schema, dict) else None
    return [name for name in schema if isinstance(name, str)] if isinstance(schema, list) else []


def _lists(answer: Answer, tool_names: list[str]) -> bool:
    """Whether a listing, in whatever form it is written, is a success that names one of the tools."""
    if answer.is_error:
        return False
    alternatives = "|".join(map(re.escape, tool_names))
    return not tool_names or re.search(rf"\b(?:{alternatives})\b", answer.text) is not None
