"""Several processes of a program that serves one upstream each, as one proxy with several groups.

A request about a group goes to the process of that group, a listing to all of them. What has no meaning for several processes, such as
one pid or a request without a group, is `NotApplicable`. A process whose upstream fails can refuse its handshake, and can end; the
others go on, and only a use of that group fails.
"""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.errors import NotApplicable, Untestable
from conformance.model.registry import NEWEST_LEGACY
from conformance.workbench.at_once import at_once
from conformance.workbench.inbox import Answer
from conformance.workbench.one_process_only import OneProcessOnly
from conformance.workbench.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from conformance.workbench.census import ProcessRef
    from conformance.workbench.client import Era
    from conformance.workbench.inbox import CallResult, RequestId
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Processes, Proxy
    from conformance.workbench.single_proxy import SingleProxy
    from conformance.workbench.transcript import Json


@asynccontextmanager
async def one_each(
    start: Callable[[MockUpstream], AbstractAsyncContextManager[SingleProxy]],
    upstreams: Sequence[MockUpstream],
) -> AsyncIterator[Proxy]:
    """Start a process for each upstream with `start`. Raises `NotApplicable` for two upstreams of one name."""
    if len({upstream.name for upstream in upstreams}) < len(upstreams):
        raise NotApplicable("the check has two upstreams of one name, and each has its own process")
    async with AsyncExitStack() as stack:
        members = {}
        for upstream in upstreams:
            members[upstream.name] = await stack.enter_async_context(start(upstream))
        yield ProxySet(members)


class ProxySet(OneProcessOnly):
    """The processes by group."""

    def __init__(self, members: Mapping[str, SingleProxy]) -> None:
        self.greeting: Answer | None = None
        self._members = dict(members)
        self._first = next(iter(members.values()))
        self._refused: dict[str, Untestable] = {}
        self._owners: dict[str, set[str]] = {}
        self._begun_by: dict[RequestId, str] = {}

    # The client: the same for each process

    @property
    def era(self) -> Era:
        return self._first.era

    @era.setter
    def era(self, era: Era) -> None:
        for member in self._members.values():
            member.era = era

    @property
    def modern(self) -> bool:
        return self._first.modern

    @modern.setter
    def modern(self, modern: bool) -> None:
        for member in self._members.values():
            member.modern = modern

    @property
    def capabilities(self) -> Json:
        return self._first.capabilities

    @capabilities.setter
    def capabilities(self, capabilities: Json) -> None:
        for member in self._members.values():
            member.capabilities = capabilities

    @property
    def info(self) -> object:
        return self._first.info

    @info.setter
    def info(self, info: object) -> None:
        for member in self._members.values():
            member.info = info

    def of(self, group: str) -> SingleProxy:
        """The process of a group. Raises `Untestable` if its handshake failed, and `NotApplicable` for an unknown group."""
        if group in self._refused:
            raise self._refused[group]
        if group not in self._members:
            raise NotApplicable(f"no process serves group {group!r}, because each one serves one upstream")
        return self._members[group]

    # Prerequisites

    async def handshake(self, version: str = NEWEST_LEGACY, within: float | None = None) -> Answer:
        """The handshake of every process. Raises `Untestable` if none of them answers."""
        greetings: dict[str, Answer] = {}

        async def greet(group: str, member: SingleProxy) -> None:
            try:
                greetings[group] = await member.handshake(version, within)
            except Untestable as problem:
                self._refused[group] = problem
                member.may_end_by_itself()

        await self._each(greet)
        for group in sorted(self._members, key=lambda one: self._members[one].is_refused):
            if group in greetings:
                self.greeting = greetings[group]
                return greetings[group]
        raise next(iter(self._refused.values()))

    async def ready(self, *upstreams: MockUpstream | str, within: float = 15.0) -> None:
        steps = []
        for upstream in upstreams:
            member = self.of(upstream if isinstance(upstream, str) else upstream.name)
            steps.append(partial(member.ready, upstream, within=within))
        await at_once(steps)

    async def groups(self, *among: str, within: float = 5.0) -> list[str]:
        found = []
        for group in among:
            if group in self._members and group not in self._refused:
                found += await self._members[group].groups(group, within=within)
        return found

    async def tools_of(self, group: str, within: float = 15.0, **selection: Any) -> Answer:
        return await self.of(group).tools_of(group, within, **selection)

    async def failure_of(self, group: str) -> str | None:
        if group in self._refused:
            # It has no other place to tell why: the answer to its handshake, or stderr before it ends.
            return f"{self._refused[group].reason}\n{self._members[group].stderr}"
        return await self._members[group].failure_of(group)

    async def definitions_of(self, group: str, name: str) -> list[Json]:
        return await self.of(group).definitions_of(group, name)

    async def missing_definitions(self, upstream: MockUpstream) -> list[str]:
        return await self.of(upstream.name).missing_definitions(upstream)

    async def wake(self, group: str) -> None:
        # Lazily or not, a process that refused its handshake has tried its upstream.
        if group not in self._refused:
            await self.of(group).wake(group)

    # Using

    async def call(
        self, group: str, tool: str, args: Json | None = None, *, within: float = 10.0
    ) -> CallResult:
        return await self.of(group).call(group, tool, args, within=within)

    async def begin_call(self, group: str, tool: str, args: Json | None = None) -> None:
        await self.of(group).begin_call(group, tool, args)

    def call_params(self, group: str, tool: str, args: Json | None = None) -> Json:
        params = self.of(group).call_params(group, tool, args)
        self._owners.setdefault(_key(params), set()).add(group)
        return params

    def name_by_pattern(self, method: str, group: str, own: str) -> str | None:
        return self.of(group).name_by_pattern(method, group, own)

    async def request(self, method: str, params: Json | None = None, **options: Any) -> Answer:
        return await self._owner_of(method, params).request(method, params, **options)

    async def request_everywhere(self, method: str, params: Json | None = None) -> list[Answer]:
        return [
            await member.request(method, params)
            for group, member in self._members.items()
            if group not in self._refused
        ]

    async def begin(self, method: str, params: Json | None, *, id: str | int, era: Era | None = None) -> None:
        owner = self._owner_of(method, params)
        self._begun_by[id] = next(group for group, member in self._members.items() if member is owner)
        await owner.begin(method, params, id=id, era=era)

    async def notify(self, method: str, params: Json | None = None, *, era: Era | None = None) -> None:
        about = self._begun_by.get((params or {}).get("requestId", ""))
        for group, member in self._members.items():
            if group not in self._refused and about in (None, group):
                await member.notify(method, params, era=era)

    async def items(
        self, method: str, member: str, params: Json | None = None, *, within: float = 10.0
    ) -> list[Json]:
        found = []
        for group, process in self._members.items():
            if group not in self._refused and not process.is_refused:
                found += await process.items(method, member, params, within=within)
        return found

    async def pages(self, method: str, member: str) -> Answer:
        found = await self.items(method, member)
        return Answer({"result": {member: found}}, json.dumps(found), time.monotonic())

    def _owner_of(self, method: str, params: Json | None) -> SingleProxy:
        owners = self._owners.get(_key(params or {}), set())
        if len(owners) != 1:
            raise NotApplicable(f"{method} names no group here, and each upstream has a process of its own")
        return self.of(next(iter(owners)))

    # Watching

    @property
    def version(self) -> str:
        return next((member.version for member in self._members.values() if member.version), "")

    @property
    def received(self) -> list[Json]:
        return [message for member in self._members.values() for message in member.received]

    @property
    def junk(self) -> list[str]:
        return [line for member in self._members.values() for line in member.junk]

    @property
    def stdout(self) -> bytes:
        return b"".join(member.stdout for member in self._members.values())

    @property
    def stdout_lines(self) -> list[str]:
        return [line for member in self._members.values() for line in member.stdout_lines]

    @property
    def output(self) -> str:
        return "".join(member.output for member in self._members.values())

    @property
    def stderr(self) -> str:
        return "".join(member.stderr for member in self._members.values())

    @property
    def transcript(self) -> Transcript:
        whole = Transcript()
        lines = [line for member in self._members.values() for line in member.transcript.lines]
        whole.lines = sorted(lines, key=lambda line: line.t)
        return whole

    @property
    def processes(self) -> Processes:
        return _Union([member.processes for member in self._members.values()])

    @asynccontextmanager
    async def answering(self, results: Mapping[str, Json]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for member in self._members.values():
                await stack.enter_async_context(member.answering(results))
            yield

    # Ending

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        for member in self._members.values():
            member.signal(number, whole_group=whole_group)

    async def end(self) -> None:
        await at_once([member.end for member in self._members.values()])

    def close_stdin(self) -> None:
        for member in self._members.values():
            member.close_stdin()

    def close_stdout(self) -> None:
        for member in self._members.values():
            member.close_stdout()

    def ignore_stderr(self) -> None:
        for member in self._members.values():
            member.ignore_stderr()

    def close_stderr(self) -> None:
        for member in self._members.values():
            member.close_stderr()

    async def wait_exit(self, within: float = 5.0) -> int | None:
        """The first exit status that is not 0, None if a process still runs after `within` seconds."""
        codes: list[int | None] = []

        async def wait(group: str, member: SingleProxy) -> None:
            code = await member.wait_exit(within)
            # A process that could not serve its upstream may tell so by its status.
            failed = group in self._refused or member.is_refused
            codes.append(0 if failed and code is not None and code > 0 else code)

        await self._each(wait)
        return None if None in codes else next((code for code in codes if code), 0)

    def may_end_by_itself(self) -> None:
        for member in self._members.values():
            member.may_end_by_itself()

    def how_it_ended(self) -> str:
        return ", ".join(f"{group}: {member.how_it_ended()}" for group, member in self._members.items())

    def must_still_serve(self) -> None:
        for member in self._members.values():
            member.must_still_serve()

    async def _each(self, do: Callable[[str, SingleProxy], Coroutine[Any, Any, None]]) -> None:
        await at_once([partial(do, group, member) for group, member in self._members.items()])


class _Union:
    """The processes of several censuses."""

    def __init__(self, parts: list[Processes]) -> None:
        self._parts = parts

    def alive(self) -> list[ProcessRef]:
        return [process for part in self._parts for process in part.alive()]


def _key(params: Json) -> str:
    """What tells requests of different groups apart: their name and arguments."""
    return json.dumps([params.get("name"), params.get("arguments")], sort_keys=True)
