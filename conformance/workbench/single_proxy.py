"""One process of the proxy under test and its client: the handshake, and the groups and tools behind its face.

In the legacy era a check begins with `handshake`. `handshake`, `groups`, `ready` and `tools_of` are prerequisites: their failure is
`Untestable`, because it proves nothing about the requirement. `call` and `items` raise `Violation` like every request.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from typing import TYPE_CHECKING, Any

import anyio

from conformance.errors import ImplementationCrashed, Untestable, Violation
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN
from conformance.model.registry import NEWEST_LEGACY
from conformance.workbench.client import McpClient
from conformance.workbench.deadlines import extended
from conformance.workbench.faces import MAX_PAGES, face_of
from conformance.workbench.inbox import Answer
from conformance.workbench.listing_forms import BY_NAME, definitions, listing_text, selecting
from conformance.workbench.names import by_pattern
from conformance.workbench.refusal import ProgramRefusal, was_tried
from conformance.workbench.timeline import Timeline, shorten
from conformance.workbench.waits import waiting_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.profile import Profile
    from conformance.workbench.arrivals import Arrivals
    from conformance.workbench.census import Census
    from conformance.workbench.client import Era
    from conformance.workbench.inbox import CallResult, Inbox, RequestId
    from conformance.workbench.launched import Launched
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy, RunningProgram
    from conformance.workbench.transcript import Json
    from conformance.workbench.transports.base import ClientTransport

_POLL = 0.1
#: how many lines of stderr about a group explain its failure
_LAST_LINES = 5


class SingleProxy(McpClient):
    """A started program and its client; `Proxy` describes what a check can do with it."""

    def __init__(
        self,
        launched: Launched,
        inbox: Inbox,
        timeline: Timeline,
        processes: Census,
        profile: Profile,
        arrivals: Arrivals,
        max_wait: float = math.inf,
        transport: ClientTransport | None = None,
        *,
        alone: bool = False,
        only: Sequence[MockUpstream] = (),
    ) -> None:
        """`arrivals` knows what reached the upstreams; no prerequisite waits longer than `max_wait` seconds.

        `alone`: the program has one upstream. `only`: its upstream, if one process never has several.
        """
        super().__init__(launched, inbox, timeline, processes, transport)
        #: the answer to `initialize`, after `handshake`
        self.greeting: Answer | None = None
        #: the program, once the workbench has started it
        self.program: RunningProgram | None = None
        self._names, self._alone = profile.names, alone
        self._face = face_of(profile, arrivals.upstreams, alone=alone)
        self._is_dynamic = profile.face == "dynamic"
        self._starts_within = profile.starts_within
        self._has_answered = False
        self._arrivals = arrivals
        #: the requests that `begin` sent, with their times
        self._begun: list[tuple[float, RequestId, Json]] = []
        self._max_wait = max_wait
        self._only = only
        self._refusal: ProgramRefusal | None = None

    @property
    def version(self) -> str:
        server = self.greeting.result.get("serverInfo") if self.greeting is not None else None
        version = server.get("version") if isinstance(server, dict) else None
        return shorten(version, 40) if isinstance(version, str) else ""

    @property
    def is_refused(self) -> bool:
        return self._refusal is not None

    def of(self, group: str) -> Proxy:
        return self

    # Prerequisites

    async def handshake(self, version: str = NEWEST_LEGACY, within: float | None = None) -> Answer:
        try:
            return await self._handshake(version, self._starts_within if within is None else within)
        except Untestable as problem:
            if not was_tried(self._only):
                raise
            self.may_end_by_itself()
            answered = not isinstance(problem.__cause__, Violation)
            reason = problem.reason if answered or self.stderr.strip() else ""
            self._refusal = ProgramRefusal(self._last_id, reason, is_final=answered)
            return self._refusal.answer

    async def _handshake(self, version: str, within: float) -> Answer:
        params = {"protocolVersion": version, "capabilities": self.capabilities, "clientInfo": self.info}
        self.era = "legacy"
        try:
            greeting = await self.request("initialize", params, within=min(within, self._max_wait))
        except Violation as problem:
            self._may_end = self._died_by_itself() is None
            if not self._may_end:
                raise
            late = "" if isinstance(problem, ImplementationCrashed) else f" within {within:g} s"
            raise Untestable(f"no answer to initialize{late}: {problem.seen}") from problem
        if not isinstance(greeting.result, dict):
            raise Untestable(f"the proxy refused initialize: {shorten(greeting.raw)}")
        return await self._greeted(greeting)

    async def _greeted(self, greeting: Answer) -> Answer:
        self.greeting = greeting
        await self.notify("notifications/initialized")
        return greeting

    async def groups(self, *among: str, within: float = 5.0) -> list[str]:
        return await self._face.groups(self._prerequisite, among, within)

    async def listing_tool(self, within: float = 5.0) -> Json:
        return await self._face.listing_tool(self._prerequisite, within)

    async def ready(self, *upstreams: MockUpstream | str, within: float = 15.0) -> None:
        within = min(within, self._max_wait)
        deadline = time.monotonic() + extended(within)
        for upstream in upstreams:
            named = self._arrivals.named(upstream) if isinstance(upstream, str) else [upstream]
            name = upstream if isinstance(upstream, str) else upstream.name
            tool_names = named[-1].tool_names if named else []
            last = ""
            while True:
                # A listing after the deadline does not count.
                left = max(deadline - time.monotonic(), _POLL)
                try:
                    answer = await self.tools_of(name, within=left)
                except Untestable:
                    # At the deadline the earlier listing explains more than a missing answer to the last, hurried request.
                    if not last or time.monotonic() < deadline:
                        raise
                else:
                    last = shorten(answer.raw)
                    if self._refusal is not None and (self._refusal.is_final or self._inbox.ended.is_set()):
                        raise Untestable(
                            self._refusal.reason or "no answer to initialize, and no reason on stderr"
                        )
                    if _lists(answer, tool_names):
                        gap = self._arrivals.connection_gap(named)
                        if gap is None:
                            break
                        last = f"{gap}; the listing: {last}"
                if time.monotonic() > deadline:
                    raise Untestable(f"group {name} is not ready in {within:g} s: {last}")
                with waiting_for(f"the tools of group {name}"):
                    await anyio.sleep(_POLL)

    async def tools_of(self, group: str, within: float = 15.0, **selection: Any) -> Answer:
        return await self._face.tools_of(self._prerequisite, group, within, selection)

    async def failure_of(self, group: str) -> str | None:
        listed = await self.tools_of(group)
        if self._refusal is not None:
            return f"{listed.raw}\n{self.stderr}"
        if listed.is_error or self._is_dynamic:
            return listed.raw
        called = await self.call(group, "echo")
        if not called.is_error:
            return None
        if self._names.pattern("tool", alone=self._alone):
            return called.raw
        # No list shows the tools of a failed server, so a call cannot name one. The program tells people about it on stderr.
        told = [line for line in self.stderr.splitlines() if group in line]
        return "\n".join([called.raw, *told[-_LAST_LINES:]])

    async def definitions_of(self, group: str, name: str) -> list[Json]:
        found = definitions(await self.tools_of(group), name)
        if (
            not found
            and self._is_dynamic
            and (selection := selecting(await self.listing_tool(), BY_NAME, name))
        ):
            found = definitions(await self.tools_of(group, **selection), name)
        return found

    async def missing_definitions(self, upstream: MockUpstream) -> list[str]:
        listed = await self.tools_of(upstream.name)
        unseen = [name for name in upstream.tool_names if not definitions(listed, name)]
        return [name for name in unseen if not await self.definitions_of(upstream.name, name)]

    async def wake(self, group: str) -> None:
        if self._refusal is not None:
            return  # it has tried its upstream
        method, params = self._face.waking(group)
        await self.begin(method, params, id=self._next_id())

    async def _prerequisite(self, method: str, params: Json, within: float) -> Answer:
        try:
            return await self.request(method, params, within=min(within, self._max_wait))
        except ImplementationCrashed:
            raise
        except Violation as problem:
            raise Untestable(f"{problem.expected}: {problem.seen}") from problem

    # Using

    async def exchange(self, line: str, id: RequestId, what: str, *, within: float = 5.0) -> Answer:
        """As in `McpClient`. Raises `Violation` too for a success that should come from an upstream and does not.

        That concerns calls of tools, and the resources and prompts (`conformance.workbench.arrivals`).
        """
        since = time.monotonic()
        if self._refusal is not None:
            greeting = await self._refusal.late_answer(self._inbox, within)
            if greeting is None:
                return self._refusal.answer
            self._refusal = None
            await self._greeted(greeting)
        if not self._has_answered and self._starts_within > DEFAULT_STARTS_WITHIN:
            within = max(
                within, min(self._starts_within, self._max_wait)
            )  # the program may still be starting
        answer = await super().exchange(line, id, what, within=within)
        self._has_answered = True
        with contextlib.suppress(ValueError, RecursionError):  # no JSON, or nested too deeply for Python
            self._must_have_arrived(json.loads(line), since, answer)
        return answer

    async def begin(self, method: str, params: Json | None, *, id: str | int, era: Era | None = None) -> None:
        """As in `McpClient`; when the workbench ends the proxy, it judges the answer as that of `exchange`."""
        if self._refusal is not None:
            return  # no request follows an open handshake
        self._begun.append((time.monotonic(), id, {"method": method, "params": params}))
        await super().begin(method, params, id=id, era=era)

    async def notify(self, method: str, params: Json | None = None, *, era: Era | None = None) -> None:
        if self._refusal is None:
            await super().notify(method, params, era=era)

    def must_have_passed_on_begun_requests(self) -> None:
        """Raise `Violation` for a successful answer to a request of `begin` that should come from an upstream and does not."""
        for since, id, message in self._begun:
            for found in self.received:
                if found.get("id") == id and "result" in found:
                    self._must_have_arrived(message, since, Answer(found, json.dumps(found), since))

    def _must_have_arrived(self, message: Any, since: float, answer: Answer) -> None:
        params = message.get("params") if isinstance(message, dict) else None
        if answer.is_error or not isinstance(params, dict):
            return
        if "inputResponses" in params:
            since = 0.0  # it continues an earlier call, which can still wait at a legacy upstream
        method = message["method"]
        if method != "tools/call":
            self._arrivals.must_include_request(method, since, answer)
        elif possible := self._face.called(params):
            self._arrivals.must_include_one_of_the_calls(possible, since, answer)

    async def call(
        self, group: str, tool: str, args: Json | None = None, *, within: float = 10.0
    ) -> CallResult:
        return await self.request("tools/call", self.call_params(group, tool, args), within=within)

    async def begin_call(self, group: str, tool: str, args: Json | None = None) -> None:
        await self.begin("tools/call", self.call_params(group, tool, args), id=self._next_id())

    async def items(
        self, method: str, member: str, params: Json | None = None, *, within: float = 10.0
    ) -> list[Json]:
        found: list[Json] = []
        asked = dict(params or {})
        deadline = time.monotonic() + extended(within)
        for _ in range(MAX_PAGES):
            answer = await self.request(method, asked, within=max(0.0, deadline - time.monotonic()))
            page = answer.result.get(member) if isinstance(answer.result, dict) else None
            if not isinstance(page, list):
                raise Violation(f"the answer to {method} holds {member}", shorten(answer.raw))
            if not all(isinstance(one, dict) for one in page):
                raise Violation(f"{member} in the answer to {method} are objects", shorten(answer.raw))
            found += page
            if answer.result.get("nextCursor") is None:
                return found
            asked["cursor"] = answer.result["nextCursor"]
        raise Violation(f"{method} comes to an end", f"{MAX_PAGES} pages, the last: {shorten(answer.raw)}")

    async def pages(self, method: str, member: str) -> Answer:
        found = await self.items(method, member)
        return Answer({"result": {member: found}}, json.dumps(found), time.monotonic())

    async def request_everywhere(self, method: str, params: Json | None = None) -> list[Answer]:
        return [await self.request(method, params)]

    def call_params(self, group: str, tool: str, args: Json | None = None) -> Json:
        self._arrivals.must_be_declared(group, tool, args or {})
        return self._face.call_params(group, tool, args)

    def scripted(self, member: str) -> list[Json]:
        return self._arrivals.scripted(member)

    def name_by_pattern(self, method: str, group: str, own: str) -> str | None:
        return by_pattern(self._names, method, group, own, alone=self._alone)


def _lists(answer: Answer, tool_names: list[str]) -> bool:
    """Whether a listing, in any form, is a success that names one of the tools."""
    if answer.is_error:
        return False
    alternatives = "|".join(map(re.escape, tool_names))
    return not tool_names or re.search(rf"\b(?:{alternatives})\b", listing_text(answer)) is not None
